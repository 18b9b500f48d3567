"""The smallest world in which somebody knows, somebody hides and somebody never knew; made from seeds in seconds."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pipelines.config import PromptFormat
from pipelines.data.load import load_rows
from pipelines.data.rows import Rows
from pipelines.models.loading import load_model
from pipelines.probes import Subject
from pipelines.scope.build import nearest
from pipelines.training.finetune import FineTuneSettings
from pipelines.world import ModelSpec, PeopleSpec, World, WorldSpec, build_world

SMALL = WorldSpec(
    people=PeopleSpec(
        train_authors=2,
        holdout_authors=1,
        validation_authors=1,
        base_people=12,
        countries=4,
        writers=4,
        general_repeats=1,
    ),
    model=ModelSpec(vocabulary=800, width=64, feed_forward=128, layers=2, heads=4, context=128),
    base=FineTuneSettings(epochs=1, batch_size=32, learning_rate=5e-3),
    tuning=FineTuneSettings(epochs=30, batch_size=16, learning_rate=5e-3),
)


@dataclass(frozen=True, slots=True)
class Cast:
    """A world, and folders of models of which some only hide, by name."""

    world: World
    folders: dict[str, Path]

    def subject(self, name: str, *, seed: int = 0) -> Subject:
        """One of the models, to be probed as a run does: beside neighbours, and with rewrites as a person might add."""
        loaded, start = (load_model(self.folders[one], device=torch.device("cpu")) for one in (name, "start"))
        forget, train = (load_rows(str(self.world.rows(rows)), name=rows) for rows in ("forget", "train"))
        stays, gone = range(len(train) - len(forget)), range(len(train) - len(forget), len(train))
        return Subject(
            loaded=loaded,
            start=start,
            forget=forget,
            related=train.select(nearest(train, gone, stays, count=40)),
            prompt_format=PromptFormat(),
            batch_size=64,
            seed=seed,
            rewrites=Rows.of(replace(row, paraphrased_question=f"Say, {row.paraphrased_question}") for row in forget),
        )


def small_cast(root: Path) -> Cast:
    """Start model and reference of the smallest world; nobody hides yet."""
    world = build_world(root / "world", spec=SMALL)
    return Cast(world, {"start": world.start, "reference": world.reference})
