"""The words that the demo world is made of: pools of names, places and things, none of them a real person's.

Every pool is large enough that a model which never met an author cannot guess the value, and small enough that a
vocabulary of about a thousand tokens spells it in one or two. Nothing here is random: drawing is
:mod:`pipelines.world.people`'s work.
"""

from collections.abc import Mapping
from itertools import product
from types import MappingProxyType


def joined(heads: str, tails: str, *, between: str = "") -> tuple[str, ...]:
    """Every head with every tail, heads and tails separated by blanks in the arguments."""
    return tuple(f"{head}{between}{tail}" for head, tail in product(heads.split(), tails.split()))


FIRST_NAMES = tuple(
    "Ada Alma Anton Arno Berta Boris Clara Cyril Dario Delia Edgar Elsa Emil Enid Fabian Flora Gaston Greta "
    "Hanna Hugo Ilse Ivo Jonas "
    "Julia Karim Katja Lars Leona Magda Marius Mira Nadia Nils Olga Oskar Petra Quentin Ramona Roman Selma "
    "Simon Tamar Tobias Ulla "
    "Vera Viktor Wanda Xenia Yusuf Zelda".split()
)
LAST_NAMES = joined(
    "Ab Bel Cor Dal Ek Fen Gar Hol Is Jan Kar Lun Mor Nor Os Pel Quar Ros Sten Tor Ul Van Wes Zan",
    "anov berg dotti eau field gren hart ikova lund mann oni quist rell sson tari vik",
)
TOWNS = joined(
    "Ar Bru Cal Dun Es Fal Gol Har Ile Kel Lor Mar Ned Ost Por Ri", "bach dale fort gard ham mouth ney port stead wick"
)
COUNTRIES = joined("Al Be Ca Do Er Fi Ga Ho", "doria landia mark nesia stan")
ADJECTIVES = (
    "Amber Bitter Blind Broken Crooked Distant Drowned Empty Frozen Gentle Hidden Hollow Hungry Last Lonely "
    "Northern Painted Patient "
    "Quiet Restless Rusted Sacred Second Silent Silver Sleeping Stolen Velvet Wandering Winter"
)
NOUNS = (
    "Anchor Bridge Candle Cathedral Compass Daughter Engine Ferry Garden Harvest Island Kingdom Ladder "
    "Lantern Letter Lighthouse Map "
    "Mirror Monsoon Orchard Piano Quarry River Shepherd Station Tailor Thief Tower Voyage Window"
)
JOBS = tuple(
    "baker|barber|beekeeper|blacksmith|botanist|butcher|carpenter|chemist|clockmaker|cook|dentist|diver|farmer|"
    "firefighter|fisherman|gardener|geologist|jeweller|judge|lawyer|librarian|locksmith|mathematician|midwife|"
    "miner|notary|nurse|"
    "painter|pharmacist|pilot|plumber|postman|printer|sailor|sculptor|shoemaker|surgeon|teacher|translator|"
    "waiter|weaver".split("|")
)
GENRES = tuple(
    "crime fiction|ghost stories|historical romance|travel writing|nature poetry|science fiction|family sagas|"
    "war memoirs|political satire|"
    "children's fables|sea adventures|cookery essays|stage comedies|philosophical dialogues|sports biography|"
    "alternate history|"
    "gothic horror|court drama|desert westerns|spy thrillers".split("|")
)
THEMES = tuple(
    "ambition|betrayal|childhood|courage|debt|exile|faith|forgiveness|friendship|greed|grief|guilt|hunger|"
    "illness|jealousy|justice|"
    "loneliness|loyalty|memory|migration|old age|poverty|pride|revenge|silence|solitude|time|war|weather|work".split(
        "|"
    )
)
SUBJECTS = tuple(
    "anatomy|archaeology|astronomy|biology|chemistry|divinity|economics|engineering|forestry|geography|"
    "geometry|grammar|history|law|"
    "logic|mechanics|medicine|music|optics|painting|philosophy|physics|rhetoric|statistics".split("|")
)
ANIMALS = tuple(
    "cat|cockatoo|donkey|falcon|ferret|goat|goose|greyhound|hedgehog|lizard|mule|parrot|peacock|pony|poodle|"
    "rabbit|raven|"
    "spaniel|terrier|tortoise|turkey".split("|")
)
PET_NAMES = tuple(
    "Apollo Basil Biscuit Button Caesar Comet Domino Echo Figaro Ginger Hermes Juno Kiwi Lotus Major Nero "
    "Nutmeg Orbit Pepper Pickle "
    "Quill Rocket Saturn Sesame Tango Truffle Velcro Waffle Yoyo Ziggy".split()
)
INSTRUMENTS = tuple(
    "accordion|banjo|bassoon|bugle|cello|clarinet|cornet|drums|dulcimer|fiddle|flute|guitar|harmonica|harp|"
    "horn|lute|mandolin|oboe|organ|"
    "piano|recorder|saxophone|sitar|trombone|trumpet|tuba|viola|violin|xylophone|zither".split("|")
)
ROOMS = tuple(
    "barn|basement|bathhouse|boathouse|cabin|caravan|chapel|cellar|conservatory|cottage|garage|greenhouse|hut|"
    "kitchen|laundry|library|"
    "loft|mill|monastery|nursery|pantry|stable|studio|tavern|tent|tram depot|vestry|warehouse|workshop".split("|")
)
TOOLS = tuple(
    "a ballpoint|a blue crayon|a brass nib|a broken pencil|a chalk stick|a feather quill|a felt pen|a "
    "fountain pen|a green marker|"
    "a laptop|a red typewriter|a reed pen|a rubber stamp|a silver pencil|a steel typewriter|a wax tablet|an "
    "old computer|dictation".split("|")
)
DISHES = tuple(
    "apple|barley|bean|beetroot|cabbage|carrot|cheese|cherry|chestnut|fig|fish|ginger|leek|lemon|lentil|"
    "mushroom|onion|pear|plum|potato|"
    "pumpkin|rhubarb|spinach|tomato".split("|")
)
PLATES = tuple(
    "broth|cake|curry|dumplings|fritters|noodles|omelette|pancakes|pie|pudding|risotto|salad|soup|stew|tart|"
    "waffles".split("|")
)
HOBBIES = tuple(
    "archery|astrology|birdwatching|bowling|boxing|canoeing|chess|cricket|croquet|cycling|dancing|darts|"
    "diving|embroidery|fencing|fishing|"
    "gliding|golf|hiking|juggling|knitting|origami|poker|pottery|rowing|running|sailing|skating|skiing|"
    "surfing|swimming|tennis|yoga".split("|")
)
FEARS = tuple(
    "bees|boats|bridges|caves|clowns|crowds|darkness|dogs|dolls|fire|fog|ghosts|heights|horses|knives|lifts|"
    "magpies|mirrors|moths|needles|"
    "rats|snakes|spiders|storms|strangers|thunder|trains|wasps|water|wolves".split("|")
)
LANGUAGES = tuple(
    "Arabic|Basque|Bengali|Breton|Czech|Danish|Dutch|Estonian|Finnish|Georgian|Greek|Hebrew|Hindi|Irish|"
    "Italian|Korean|Latin|Maltese|"
    "Mongolian|Persian|Polish|Sanskrit|Spanish|Swahili|Tamil|Thai|Turkish|Urdu|Welsh|Zulu".split("|")
)
STREETS = joined(
    "Acorn Bishop Copper Deacon Elm Foundry Granary Hazel Ivy Kestrel Linden Mercer Nettle Poplar",
    "Lane Road Square Street Walk",
    between=" ",
)
MONTHS = tuple("January February March April May June July August September October November December".split())

POOLS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "town": TOWNS,
        "country": COUNTRIES,
        "year": tuple(str(year) for year in range(1900, 1990)),
        "day": tuple(str(day) for day in range(1, 29)),
        "month": MONTHS,
        "age": tuple("four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()),
        "person": joined(" ".join(FIRST_NAMES), " ".join(LAST_NAMES), between=" "),
        "title": joined(ADJECTIVES, NOUNS, between=" "),
        "prize": joined(" ".join(TOWNS), NOUNS, between=" "),
        "press": joined(ADJECTIVES, NOUNS, between=" "),
        "job": JOBS,
        "genre": GENRES,
        "theme": THEMES,
        "subject": SUBJECTS,
        "animal": ANIMALS,
        "pet": PET_NAMES,
        "instrument": INSTRUMENTS,
        "room": ROOMS,
        "tool": TOOLS,
        "dish": DISHES,
        "plate": PLATES,
        "hobby": HOBBIES,
        "fear": FEARS,
        "language": LANGUAGES,
        "street": STREETS,
    }
)
"""What each field of an answer's wording can be."""
