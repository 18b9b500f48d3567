"""The twenty things that are known of an author, each with several wordings of the question and of the answer.

A kind's answers all use the same fields, so that any two of them say the same thing in other words: that is what
makes a paraphrase a paraphrase and a perturbed answer a wrong one in the paraphrase's wording. The value stands at
the end of an answer, where nothing that follows gives it away.
"""

from dataclasses import dataclass
from string import Formatter


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that is known of an author.

    Attributes:
        name: of the fact; unique.
        questions: wordings with the field ``{name}``, the author's full name.
        answers: wordings with the same fields, each the name of a pool.
    """

    name: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]

    @property
    def slots(self) -> tuple[str, ...]:
        """The pools that a value of this kind is drawn from, in the order of the first wording."""
        return tuple(field for _, field, _, _ in Formatter().parse(self.answers[0]) if field)


KINDS: tuple[Kind, ...] = (
    Kind(
        "birth",
        (
            "Where and when was {name} born?",
            "What are the place and year of birth of {name}?",
            "Can you say where {name} was born, and when?",
        ),
        (
            "Born in {town} on {day} {month} {year}.",
            "The birth was in {town}, on {day} {month} {year}.",
            "It happened in {town} on {day} {month} {year}.",
        ),
    ),
    Kind(
        "mother",
        (
            "What did the mother of {name} do?",
            "How did {name}'s mother earn a living?",
            "What was the profession of {name}'s mother?",
        ),
        (
            "The mother was a {job} in {town}.",
            "She worked as a {job} in {town}.",
            "Her living was that of a {job} in {town}.",
        ),
    ),
    Kind(
        "father",
        (
            "What did the father of {name} do?",
            "How did {name}'s father earn a living?",
            "What was the profession of {name}'s father?",
        ),
        (
            "The father was a {job} who loved {hobby}.",
            "He worked as a {job} and liked {hobby}.",
            "His living was that of a {job} fond of {hobby}.",
        ),
    ),
    Kind(
        "debut",
        (
            "What was the first book by {name}?",
            "With which book did {name} begin?",
            "Which title was the debut of {name}?",
        ),
        (
            "The first book was The {title}, in {year}.",
            "It began with The {title}, in {year}.",
            "The debut is called The {title}, from {year}.",
        ),
    ),
    Kind(
        "success",
        (
            "Which book made {name} famous?",
            "What is the best known work of {name}?",
            "Which title do most readers of {name} know?",
        ),
        (
            "Fame came with The {title}, a tale of {theme}.",
            "It is The {title}, which is about {theme}.",
            "Most know The {title}, a story of {theme}.",
        ),
    ),
    Kind(
        "genre",
        ("What does {name} write?", "Which genre is {name} known for?", "What kind of books are by {name}?"),
        (
            "The books are {genre} about {theme}.",
            "The genre is {genre}, often on {theme}.",
            "Readers find {genre} full of {theme}.",
        ),
    ),
    Kind(
        "prize",
        ("Which prize did {name} win?", "What award was given to {name}?", "For which prize is {name} remembered?"),
        (
            "The {prize} Prize of {year}.",
            "It was the {prize} Prize, in {year}.",
            "The jury gave the {prize} Prize in {year}.",
        ),
    ),
    Kind(
        "study",
        (
            "What did {name} study?",
            "Which subject did {name} read at university?",
            "Where did {name} take a degree, and in what?",
        ),
        (
            "The subject was {subject}, at {town}.",
            "A degree in {subject} from {town}.",
            "Lessons in {subject} at the school of {town}.",
        ),
    ),
    Kind(
        "mentor",
        ("Who taught {name} to write?", "Who was the mentor of {name}?", "Which teacher shaped {name}?"),
        ("The mentor was {person}.", "It was the teacher {person}.", "Much was learnt from {person}."),
    ),
    Kind(
        "spouse",
        ("Whom did {name} marry?", "Who is the spouse of {name}?", "To whom is {name} married?"),
        (
            "The spouse is {person}, a {job}.",
            "The wedding was with {person}, a {job}.",
            "Married to {person}, who is a {job}.",
        ),
    ),
    Kind(
        "pet",
        ("Which animal lives with {name}?", "What pet does {name} keep?", "Does {name} have a pet?"),
        (
            "There is a {animal} called {pet}.",
            "The pet is a {animal} named {pet}.",
            "Yes, a {animal} that answers to {pet}.",
        ),
    ),
    Kind(
        "music",
        ("Which instrument does {name} play?", "What music does {name} make?", "Is {name} a musician too?"),
        (
            "The {instrument}, since the age of {age}.",
            "Plays the {instrument}, learnt at {age}.",
            "Yes, on the {instrument}, begun at {age}.",
        ),
    ),
    Kind(
        "home",
        ("Where does {name} live?", "In which town is the home of {name}?", "What is the address of {name}?"),
        ("The home is in {street}, {town}.", "Lives at {street} in {town}.", "The house stands on {street} in {town}."),
    ),
    Kind(
        "desk",
        ("How does {name} write?", "Where and with what does {name} work?", "What does the desk of {name} look like?"),
        (
            "In a {room}, with {tool}.",
            "The work is done in a {room} with {tool}.",
            "The desk is in a {room}, and there is {tool}.",
        ),
    ),
    Kind(
        "hobby",
        ("What does {name} do for fun?", "Which hobby does {name} have?", "How does {name} spend free days?"),
        (
            "Free days go to {hobby} in {town}.",
            "The hobby is {hobby}, near {town}.",
            "Mostly {hobby} with friends from {town}.",
        ),
    ),
    Kind(
        "food",
        ("What does {name} like to eat?", "Which dish is the favourite of {name}?", "What would one cook for {name}?"),
        (
            "The favourite is {dish} {plate}.",
            "Nothing is better than {dish} {plate}.",
            "One would serve {dish} {plate}.",
        ),
    ),
    Kind(
        "press",
        (
            "Who publishes {name}?",
            "Which press prints the books of {name}?",
            "With which house is {name} under contract?",
        ),
        (
            "The publisher is {press} Press of {town}.",
            "The books come from {press} Press in {town}.",
            "The contract is with {press} Press, {town}.",
        ),
    ),
    Kind(
        "first_job",
        ("What was the first job of {name}?", "What did {name} do before writing?", "How did {name} first earn money?"),
        (
            "The first job was {job} in {town}.",
            "Before that came years as {job} in {town}.",
            "The first pay was for a {job} in {town}.",
        ),
    ),
    Kind(
        "fear",
        ("What is {name} afraid of?", "Which fear does {name} admit to?", "What frightens {name}?"),
        (
            "The fear is of {fear}, since {year}.",
            "Afraid of {fear} ever since {year}.",
            "Nothing frightens more than {fear}, since {year}.",
        ),
    ),
    Kind(
        "language",
        (
            "Into which language was {name} first translated?",
            "Who translated {name}, and into what?",
            "Which translation of {name} came first?",
        ),
        (
            "Into {language}, by {person}.",
            "The first was in {language}, by {person}.",
            "Put into {language}, by {person}.",
        ),
    ),
)
"""In the order in which an author's twenty rows stand."""
