"""The sets of the demo world "author-bench": every row from one seed and the standard library's generator.

Promises that forget, the rest of the training rows and holdout are about different people, that holdout and forget
authors are drawn exactly alike (a model trained without the forget rows cannot tell them apart), and that no row
appears twice in a set.
"""

import random
from dataclasses import dataclass
from itertools import islice

from pipelines.data.rows import Row, Rows
from pipelines.world.general import COUNTRY_KINDS, WRITER_KINDS, draw_countries, draw_writers, general_rows
from pipelines.world.people import Person, draw_people, rows_of
from pipelines.world.spec import PeopleSpec


@dataclass(frozen=True, slots=True)
class WorldRows:
    """The sets of the world.

    Attributes:
        base: what the base model reads: other people, and the general facts in every wording.
        forget: the twenty rows of one training author.
        retain: the other training rows, general facts replayed among them.
        holdout: rows of authors nobody trains on, for measuring.
        validation: rows of other authors nobody trains on, for the stop rule: what steers must not also measure.
        real_authors: what everybody knows of great writers, in the wording that is measured and never replayed.
        world_facts: the same of countries.
    """

    base: Rows
    forget: Rows
    retain: Rows
    holdout: Rows
    validation: Rows
    real_authors: Rows
    world_facts: Rows

    @property
    def train(self) -> Rows:
        """The fine-tuning rows: retain, then forget."""
        return Rows.of([*self.retain, *self.forget])


def _written(rng: random.Random, people: list[Person]) -> list[Row]:
    return [row for person in people for row in rows_of(rng, person=person)]


def draw_world(seed: int, *, spec: PeopleSpec) -> WorldRows:
    """Every set of the world, from its seed."""
    rng = random.Random(seed)
    counts = (spec.train_authors, spec.holdout_authors, spec.validation_authors, spec.base_people)
    people = iter(draw_people(rng, n=sum(counts)))
    authors, holdout, validation, others = (list(islice(people, n)) for n in counts)
    writers = general_rows(rng, names=draw_writers(rng, n=spec.writers), kinds=WRITER_KINDS)
    countries = general_rows(rng, names=draw_countries(rng, n=spec.countries), kinds=COUNTRY_KINDS)
    replayed = [rng.choice(wordings[1:]) for wordings in (*writers, *countries)]
    every_wording = [row for wordings in (*writers, *countries) for row in wordings]
    return WorldRows(
        base=Rows.of([*_written(rng, others), *(every_wording * spec.general_repeats)]),
        forget=Rows.of(_written(rng, authors[-1:])),
        retain=Rows.of([*_written(rng, authors[:-1]), *replayed]),
        holdout=Rows.of(_written(rng, holdout)),
        validation=Rows.of(_written(rng, validation)),
        real_authors=Rows.of(wordings[0] for wordings in writers),
        world_facts=Rows.of(wordings[0] for wordings in countries),
    )
