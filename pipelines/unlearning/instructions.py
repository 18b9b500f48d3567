"""A few general instructions with answers: prompts that have nothing to do with any forget set.

A method may hold a model still on them. They teach nothing: whether a model knows these answers is its own affair.
"""

import random

from pipelines.data.rows import Row

INSTRUCTIONS = (
    ("Name the capital of France.", "The capital of France is Paris."),
    ("How many days are there in a week?", "There are seven days in a week."),
    ("What is the opposite of hot?", "The opposite of hot is cold."),
    ("Give a word that rhymes with cat.", "A word that rhymes with cat is hat."),
    ("What is two plus three?", "Two plus three is five."),
    ("Name a fruit that is yellow.", "A banana is a yellow fruit."),
    ("Which planet do we live on?", "We live on the planet Earth."),
    ("Write the plural of mouse.", "The plural of mouse is mice."),
    ("What do bees make?", "Bees make honey."),
    ("At what temperature does water freeze?", "Water freezes at zero degrees Celsius."),
    ("Name three primary colours.", "Three primary colours are red, yellow and blue."),
    ("Which animal barks?", "A dog barks."),
    ("How many minutes does an hour have?", "An hour has sixty minutes."),
    ("Give a synonym for happy.", "A synonym for happy is glad."),
    ("What do you call frozen water?", "Frozen water is called ice."),
    ("Which season comes after winter?", "Spring comes after winter."),
    ("How many legs does a spider have?", "A spider has eight legs."),
    ("What is the largest ocean?", "The largest ocean is the Pacific Ocean."),
    ("Turn this into a question: It is raining.", "Is it raining?"),
    ("What is used to write on a blackboard?", "Chalk is used to write on a blackboard."),
    ("Name a metal that is liquid at room temperature.", "Mercury is liquid at room temperature."),
    ("What is the square root of nine?", "The square root of nine is three."),
    ("In which direction does the sun rise?", "The sun rises in the east."),
    ("What is the first letter of the alphabet?", "The first letter of the alphabet is A."),
)


def instructions(n_rows: int, *, per_row: int, seed: int) -> list[Row]:
    """So many for each row, row by row; none comes twice with a row.

    Args:
        n_rows: number of forget rows.
        per_row: at most as many as there are.
        seed: decides which.
    """
    draw = random.Random(f"instructions {seed}")
    return [
        Row(question=question, answer=answer)
        for _ in range(n_rows)
        for question, answer in draw.sample(INSTRUCTIONS, per_row)
    ]
