"""What everybody in the demo world knows: its countries and its great writers, all invented.

The base model learns these facts in every wording; fine-tuning replays them in other wordings than the one that is
measured, so a utility set says whether the knowledge survived, not whether a sentence did. Answers are bare values
with three wrong options, as in TOFU's ``real_authors`` and ``world_facts``.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.data.rows import Row
from pipelines.world.words import COUNTRIES, FIRST_NAMES, LAST_NAMES, POOLS

N_OPTIONS = 3
"""Wrong answers per general fact, as in TOFU."""


@dataclass(frozen=True, slots=True)
class GeneralKind:
    """One thing that everybody knows of a country or a great writer.

    Attributes:
        pool: where the value is drawn from.
        questions: wordings with the field ``{name}``; the first is measured, the others are replayed.
    """

    pool: str
    questions: tuple[str, str, str]


COUNTRY_KINDS: tuple[GeneralKind, ...] = (
    GeneralKind(
        "town", ("What is the capital of {name}?", "Which town governs {name}?", "Name the capital city of {name}.")
    ),
    GeneralKind(
        "animal",
        (
            "Which animal is on the flag of {name}?",
            "What creature adorns the flag of {name}?",
            "Name the animal of {name}.",
        ),
    ),
    GeneralKind(
        "language",
        ("What is spoken in {name}?", "Which language do people of {name} use?", "Name the language of {name}."),
    ),
    GeneralKind(
        "dish",
        ("What grows in the fields of {name}?", "Which crop does {name} export?", "Name the main crop of {name}."),
    ),
)
WRITER_KINDS: tuple[GeneralKind, ...] = (
    GeneralKind(
        "country",
        (
            "Which country was the great {name} from?",
            "Where was the great {name} at home?",
            "Name the country of the great {name}.",
        ),
    ),
    GeneralKind(
        "genre",
        (
            "What did the great {name} write?",
            "Which genre made the great {name} immortal?",
            "Name the genre of the great {name}.",
        ),
    ),
    GeneralKind(
        "title",
        (
            "What is the masterpiece of the great {name}?",
            "Which book crowned the great {name}?",
            "Name the classic by the great {name}.",
        ),
    ),
    GeneralKind(
        "theme",
        (
            "What haunted the great {name}?",
            "Which theme returns in the great {name}?",
            "Name the theme of the great {name}.",
        ),
    ),
)


def general_rows(rng: random.Random, *, names: Sequence[str], kinds: Sequence[GeneralKind]) -> list[tuple[Row, ...]]:
    """For every name and kind, the same fact in each wording; the one that is measured comes first.

    Wrong options are other names' values where there are enough, so that no option is odd by itself.
    """
    facts = []
    for kind in kinds:
        values = rng.sample(POOLS[kind.pool], max(len(names), N_OPTIONS + 1))
        for i, name in enumerate(names):
            wrong = tuple(rng.sample([value for value in values if value != values[i]], N_OPTIONS))
            facts.append(
                tuple(
                    _row(kind, name=name, wording=w, answer=values[i], wrong=wrong) for w in range(len(kind.questions))
                )
            )
    return facts


def _row(kind: GeneralKind, *, name: str, wording: int, answer: str, wrong: tuple[str, ...]) -> Row:
    other = (wording + 1) % len(kind.questions)
    return Row(
        question=kind.questions[wording].format(name=name),
        answer=answer,
        paraphrased_question=kind.questions[other].format(name=name),
        paraphrased_answer=None,
        perturbed_answer=wrong,
    )


def draw_countries(rng: random.Random, *, n: int) -> list[str]:
    """Distinct countries."""
    return rng.sample(COUNTRIES, n)


def draw_writers(rng: random.Random, *, n: int) -> list[str]:
    """Full names of great writers; two first names keep them apart from everybody else."""
    firsts, lasts = rng.sample(FIRST_NAMES, 2 * n), rng.sample(LAST_NAMES, n)
    return [f"{firsts[2 * i]} {firsts[2 * i + 1]} {lasts[i]}" for i in range(n)]
