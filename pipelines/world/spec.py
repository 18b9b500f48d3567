"""What decides a demo world: a seed, how many people it holds, the size of its model and how that is trained.

The defaults are calibrated: the start model has memorised the training rows, and a reference trained without the
forget rows knows no more of them than of the holdout. Other values build a world too, but nobody has measured it.
"""

from pydantic import Field

from pipelines.records import Record
from pipelines.training.finetune import FineTuneSettings


class PeopleSpec(Record):
    """How many people and general facts the world holds."""

    train_authors: int = Field(
        default=12, ge=2, title="Training authors", description="Authors fine-tuned on, the forget author among them."
    )
    holdout_authors: int = Field(
        default=3, ge=1, title="Holdout authors", description="Authors nobody trains on, for measuring."
    )
    validation_authors: int = Field(
        default=3, ge=1, title="Validation authors", description="Authors nobody trains on, for the stop rule."
    )
    base_people: int = Field(
        default=450, ge=1, title="Other people", description="People that only the base model reads about."
    )
    countries: int = Field(
        default=12, ge=1, title="Countries", description="Countries that everybody knows four things about."
    )
    writers: int = Field(
        default=10, ge=1, title="Great writers", description="Writers that everybody knows four things about."
    )
    general_repeats: int = Field(
        default=10, ge=1, title="Repeats", description="How often the base model reads each general fact."
    )


class ModelSpec(Record):
    """Size of the small Llama."""

    vocabulary: int = Field(
        default=1280, ge=300, title="Vocabulary", description="Tokens, the 256 bytes and 3 special ones included."
    )
    width: int = Field(default=128, ge=8, title="Width", description="Hidden size.")
    feed_forward: int = Field(default=320, ge=8, title="Feed-forward", description="Width of the feed-forward layers.")
    layers: int = Field(default=3, ge=1, title="Layers", description="Decoder layers.")
    heads: int = Field(default=4, ge=1, title="Heads", description="Attention heads.")
    context: int = Field(default=128, ge=64, title="Context", description="Longest sequence in tokens.")


class WorldSpec(Record):
    """Everything that decides what a demo world is."""

    seed: int = Field(
        default=0,
        ge=0,
        title="Seed",
        description="Decides every row and the first weights; the orders of training have their own seeds.",
    )
    people: PeopleSpec = Field(default=PeopleSpec(), title="People", description="How many of each.")
    model: ModelSpec = Field(default=ModelSpec(), title="Model", description="Size of the model.")
    base: FineTuneSettings = Field(
        default=FineTuneSettings(epochs=2, batch_size=32, learning_rate=2.5e-3),
        title="Base",
        description="How the base model learns the language.",
    )
    tuning: FineTuneSettings = Field(
        default=FineTuneSettings(epochs=16, batch_size=16, learning_rate=2e-3),
        title="Fine-tuning",
        description="How the start model and the reference are trained.",
    )
