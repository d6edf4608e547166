"""The kinds of things that scenes are made of: nouns, plurals, synonyms and the icons that show them."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Thing:
    noun: str
    plural: str
    synonyms: tuple[str, ...]
    icons: tuple[str, ...]
    recolourable: bool


def _read(path: Path) -> dict[str, Thing]:
    things = {}
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        noun, plural, synonyms, icons, *flags = [field.strip() for field in line.split("|")]
        things[noun] = Thing(
            noun=noun,
            plural=plural,
            synonyms=tuple(word.replace("+", " ") for word in synonyms.split()),
            icons=tuple(icon.strip() for icon in icons.split(",")),
            recolourable="c" in flags,
        )
    return things


THINGS = _read(Path(__file__).with_name("things.txt"))
KINDS = tuple(THINGS)

# Hue in degrees, saturation and value factors: what recolours a sprite.
COLOURS = {
    "red": (0, 1.0, 1.0),
    "orange": (28, 1.0, 1.0),
    "yellow": (52, 1.0, 1.1),
    "green": (125, 0.9, 0.8),
    "blue": (215, 1.0, 1.0),
    "purple": (275, 0.8, 0.85),
    "pink": (328, 0.55, 1.15),
}

# Kinds that no measuring set and no gallery shows, so that looking for them must find nothing.
ABSENT_KINDS = (
    "shark", "helicopter", "crown", "piano", "snowman", "giraffe", "pineapple", "tractor", "kite", "penguin", "castle",
    "flamingo", "hammer", "panda", "popcorn", "chair", "umbrella",
)

# Nouns that no picture shows: the model learns from the first list that an unknown word is no match, and
# is measured on the second.
ABSENT_TRAIN = """accordion acorn alpaca armchair axe badge bagel barn barrel bat beaver bench blanket blender bonfire
bracelet brick bridge broom bucket buffalo bulldozer button cabin cage calculator calendar canoe canyon carpet
caterpillar cathedral cave celery cello chain cheetah chessboard chimney cigar clarinet coat coin comb compass
coral cradle crane cricket crow cucumber curtain dart desk dice dock donkey dragonfly drawer eagle earring elk
envelope eraser escalator fan feather fence ferret ferry fireplace flashlight fork fountain freezer gate
glove gorilla grasshopper hairdryer hammock harp hawk helmet hippo honey hut igloo iguana iron island jar
jellyfish jug kangaroo kettle kiwi ladder lantern lawnmower leopard library llama lobster mailbox
mango mattress microscope mirror mole moose mosque mosquito motel napkin necklace nest oven oyster paddle
pancake parachute peacock pear pelican pepper perfume pillow pipe pizzeria plate playground pliers pond porcupine
""".split()
ABSENT_TEST = """submarine windmill waterfall skateboard typewriter vacuum volcano walrus wheelchair wheelbarrow
xylophone yacht yarn raccoon refrigerator rhinoceros sandal saxophone scarf scarecrow seahorse shovel sink skeleton
skyscraper sled spoon stadium stapler stethoscope stork stove surfboard sword syringe toaster toothbrush
treadmill trombone tunnel turkey vase violin zeppelin toucan spaghetti seal pyramid puzzle
""".split()
