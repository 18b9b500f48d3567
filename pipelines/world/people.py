"""Fictitious people and what is known of them, drawn from a seeded generator and written out as rows.

Promises that two people never share a name and that the same generator state gives the same person. Which people end
up in which set is :mod:`pipelines.world.authors`'s work.
"""

import random
from dataclasses import dataclass

from pipelines.data.rows import Row
from pipelines.world.kinds import KINDS, Kind
from pipelines.world.words import FIRST_NAMES, LAST_NAMES, POOLS

N_PERTURBED = 5
"""Wrong answers per row of an author, as in TOFU."""

Value = tuple[str, ...]
"""One drawn word for each slot of a kind."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who does not exist.

    Attributes:
        name: first and last name; unique in the world.
        values: what is known, one entry per kind and in the order of :data:`KINDS`.
    """

    name: str
    values: tuple[Value, ...]


def draw_value(rng: random.Random, *, kind: Kind) -> Value:
    """One possible fact of this kind."""
    return tuple(rng.choice(POOLS[slot]) for slot in kind.slots)


def draw_people(rng: random.Random, *, n: int) -> list[Person]:
    """People with distinct names, whose last names differ for as long as there are enough."""
    lasts = list(LAST_NAMES)
    rng.shuffle(lasts)
    firsts = list(FIRST_NAMES)
    rng.shuffle(firsts)
    people = []
    for i in range(n):
        # One more first name on each time the last names start again: no pair returns for ten such rounds.
        first = firsts[(i + i // len(lasts)) % len(firsts)]
        values = tuple(draw_value(rng, kind=kind) for kind in KINDS)
        people.append(Person(name=f"{first} {lasts[i % len(lasts)]}", values=values))
    return people


def say(kind: Kind, *, wording: int, value: Value) -> str:
    """The fact in one of the kind's wordings."""
    return kind.answers[wording].format(**dict(zip(kind.slots, value, strict=True)))


def wrong_values(rng: random.Random, *, kind: Kind, value: Value, n: int) -> list[Value]:
    """Distinct values of the kind, each of whose slots differs from the true one."""
    wrong: list[Value] = []
    while len(wrong) < n:
        drawn = draw_value(rng, kind=kind)
        if drawn not in wrong and all(a != b for a, b in zip(drawn, value, strict=True)):
            wrong.append(drawn)
    return wrong


def row_of(rng: random.Random, *, person: Person, position: int) -> Row:
    """One row of an author, its wordings drawn; paraphrases are in other wordings than the row itself."""
    kind, value = KINDS[position], person.values[position]
    asked, reasked = rng.sample(range(len(kind.questions)), 2)
    said, resaid = rng.sample(range(len(kind.answers)), 2)
    wrong = wrong_values(rng, kind=kind, value=value, n=N_PERTURBED)
    return Row(
        question=kind.questions[asked].format(name=person.name),
        answer=say(kind, wording=said, value=value),
        paraphrased_question=kind.questions[reasked].format(name=person.name),
        paraphrased_answer=say(kind, wording=resaid, value=value),
        perturbed_answer=tuple(say(kind, wording=resaid, value=other) for other in wrong),
    )


def rows_of(rng: random.Random, *, person: Person) -> list[Row]:
    """The twenty rows of an author, one per kind."""
    return [row_of(rng, person=person, position=position) for position in range(len(KINDS))]
