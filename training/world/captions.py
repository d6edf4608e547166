"""What people would type to find a scene, whether a text is true of a scene, and near misses."""

import random
from dataclasses import dataclass, replace

from .backgrounds import INDOORS, OUTDOORS, PLAIN_COLOURS
from .scene import MIN_OFFSET, Scene
from .things import ABSENT_TRAIN, COLOURS, KINDS, THINGS, Thing

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}

# Wordings. Those for training and those for measuring share their words, not their sentences.
RELATIONS = {
    "train": {
        "left": (
            "{a} left of {b}", "{a} to the left of {b}", "{b} with {a} on its left", "{a} on the left, {b} on the right",
            "to the left of {b} {a}", "left of {b} there is {a}", "{b} and left of it {a}", "{b}, on its left {a}",
            "{a} at the left and {b} at the right", "the right side shows {b}, the left side {a}", "{b} that has {a} to its left",
            "{a} left, {b} right", "there is {a} to the left of {b}", "on the right {b} and on the left {a}", "{a} is to the left of {b}",
            "on the left is {a} and on the right is {b}",
        ),
        "right": (
            "{a} right of {b}", "{a} to the right of {b}", "{b} with {a} on its right", "{a} on the right and {b} on the left",
            "to the right of {b} {a}", "right of {b} there is {a}", "{b} and right of it {a}", "{b}, on its right {a}",
            "{a} at the right and {b} at the left", "the left side shows {b}, the right side {a}", "{b} that has {a} to its right",
            "{a} right, {b} left", "there is {a} to the right of {b}", "on the left {b} and on the right {a}", "{a} is to the right of {b}",
            "on the right is {a} and on the left is {b}",
        ),
        "above": (
            "{a} above {b}", "{a} over {b}", "{b} with {a} above it", "{a} at the top, {b} at the bottom",
            "above {b} {a}", "over {b} there is {a}", "{b} and above it {a}", "{b}, over it {a}",
            "at the bottom {b} and at the top {a}", "the top shows {a}, the bottom {b}", "{b} that has {a} over it",
            "{a} top, {b} bottom", "there is {a} above {b}", "there is {a} over {b}", "{a} is over {b}", "at the top is {a} and at the bottom is {b}",
        ),
        "below": (
            "{a} below {b}", "{a} under {b}", "{b} with {a} below it", "{a} at the bottom and {b} at the top",
            "below {b} {a}", "under {b} there is {a}", "{b} and below it {a}", "{b}, under it {a}",
            "at the top {b} and at the bottom {a}", "the bottom shows {a}, the top {b}", "{b} that has {a} under it",
            "{a} bottom, {b} top", "there is {a} below {b}", "there is {a} under {b}", "{a} is under {b}", "at the bottom is {a} and at the top is {b}",
        ),
        "front": (
            "{a} in front of {b}", "{b} behind {a}", "there is {a} in front of {b}", "{b}, and in front of it {a}",
            "in front of {b} there is {a}", "{a} at the front and {b} at the back", "{b} that has {a} in front of it",
            "behind {a} there is {b}", "{a}, and {b} at the back", "front {a}, back {b}", "{a} and behind it {b}", "{a} is at the front, {b} is at the back",
        ),
        "behind": (
            "{a} behind {b}", "{b} in front of {a}", "there is {a} behind {b}", "{b}, and behind it {a}",
            "behind {b} there is {a}", "{a} at the back and {b} at the front", "{b} that has {a} behind it",
            "in front of {a} there is {b}", "{b}, and {a} at the back", "back {a}, front {b}", "{a} and in front of it {b}", "{a} is at the back, {b} is at the front",
        ),
        "near": (
            "{a} and {b}", "{a} with {b}", "{a} by {b}", "{a} next to {b}", "{a} near {b}", "{a} beside {b}",
            "{a} and also {b}", "there is {a} near {b}", "next to {b} {a}", "beside {b} there is {a}", "{b}, and by it {a}",
            "{a} {b}", "{a}, {b}", "{a} that has {b} next to it", "{a} is beside {b}", "{a} is by {b}",
        ),
    },
    "test": {
        "left": ("on the left {a}, to the right of it {b}", "{a} is left of {b}"),
        "right": ("on the right {a}, to the left of it {b}", "{a} is right of {b}"),
        "above": ("{a} at the top and {b} below it", "{a} is above {b}"),
        "below": ("{a} at the bottom and {b} above it", "{a} is below {b}"),
        "front": ("{a} is in front of {b}", "{a} with {b} behind it"),
        "behind": ("{a} is behind {b}", "{a} with {b} in front of it"),
        "near": ("{a} is next to {b}", "{a}, near it {b}"),
    },
}
PLACES = {
    "room": ("in a room", "in the living room", "indoors", "inside a house"),
    "kitchen": ("in a kitchen", "in the kitchen"),
    "beach": ("at the beach", "on the beach", "on a beach"),
    "mountains": ("in the mountains", "in front of mountains", "with mountains behind"),
    "forest": ("in a forest", "in the woods", "in the forest"),
    "field": ("in a field", "on the grass", "in a meadow"),
    "city": ("in the city", "in a city", "downtown"),
    "desert": ("in the desert", "in a desert"),
    "street": ("on a street", "on the road", "in the street"),
    "sea": ("at sea", "on the sea", "on the ocean"),
    "underwater": ("underwater", "under water", "under the sea"),
    "space": ("in space", "in outer space"),
    "plain": ("on a {colour} background", "on plain {colour}"),
}
TIMES = {
    "day": ("by day", "during the day"),
    "sunset": ("at sunset", "in the evening", "at dusk"),
    "night": ("at night", "in the dark"),
}
WEATHERS = {
    "clear": ("under a clear sky", "in clear weather"),
    "cloudy": ("under clouds", "on a cloudy day"),
    "rain": ("in the rain", "on a rainy day", "in rainy weather"),
    "snow": ("in the snow", "on a snowy day", "while it snows"),
}
PLACE_NOUNS = {
    "room": ("a room", "living room"), "kitchen": ("a kitchen", "kitchen"), "beach": ("a beach", "beach"),
    "mountains": ("mountains", "a mountain"), "forest": ("a forest", "forest"), "field": ("a meadow", "grass"),
    "city": ("a city", "city"), "desert": ("a desert", "desert"), "street": ("a street", "a road"),
    "sea": ("the sea", "the ocean"), "underwater": ("underwater", "under water"), "space": ("space", "outer space"),
    "plain": ("a {colour} background", "plain {colour}"),
}
ONSETS = "b c d f g h j k l m n p r s t v w z bl br ch cl cr dr fl fr gl gr pl pr sh sk sl sp st th tr tw wh".split() + [""]
CODAS = "b d g k l m n p r s t x ck ld mp nd ng nt rd rk rt sh st th".split() + [""] * 20
FRAMES = {
    "train": (
        "{text}", "{text}", "{text}", "{text}", "{text}", "a picture of {text}", "a photo of {text}", "{text} in a picture",
        "the picture of {text}", "photo with {text}", "there is {text}", "show {text}", "a picture that shows {text}",
        "{text} in the photo", "picture: {text}", "where is {text}", "can you find {text}", "look for {text}", "search for {text}",
        "give me {text}", "i want {text}", "any picture of {text}", "photos of {text}", "images of {text}", "do you have {text}",
    ),
    "test": ("{text}", "the photo of {text}", "find {text}"),
}
# How a third thing, a second pair and the surroundings join the rest.
THIRD = {
    "train": ("{t}, and {c}", "{t} and also {c}", "{c}, and {t}", "{t}; {c}", "{t}, also {c}", "{c}; {t}", "{t}, and there is {c}"),
    "test": ("{t}, with {c}", "{c} and {t}"),
}
FOURTH = {"train": ("{t}, and {r}", "{t}; {r}", "{t}, also {r}", "{t} and {r}"), "test": ("{t}, {r}",)}
ORDERS = {
    "train": ("{t} {w}", "{t} {w}", "{t} {w}", "{t}, {w}", "{t}; {w}", "{w}: {t}", "{w} {t}", "{w} there is {t}"),
    "test": ("{t} {w}", "{w}, {t}"),
}


@dataclass(frozen=True)
class Noun:
    """A noun phrase: count None says "a cat" or just "cat"; colour and size only when said. A kind that is not in
    the world stands for itself, and no picture shows it."""

    kind: str
    count: int | None = None
    colour: str | None = None
    size: str | None = None


@dataclass(frozen=True)
class Description:
    """What a text claims. `relation` holds between the first two nouns, `relation_2` between the next two."""

    nouns: tuple[Noun, ...]
    relation: str | None = None
    relation_2: str | None = None
    place: str | None = None
    plain_colour: str | None = None
    time: str | None = None
    weather: str | None = None


def describe(scene: Scene, rng: random.Random, full: bool) -> Description:
    """A true description: of everything that matters (full), or of a part, as most queries are."""
    groups = list(scene.groups)
    rng.shuffle(groups)
    nouns = []
    for group in groups:
        said = lambda p: full or rng.random() < p
        nouns.append(Noun(
            group.kind,
            count=group.count if group.count > 1 else None,
            colour=group.colour if said(0.6) else None,
            size=group.size if group.size != "normal" and group.count == 1 and not scene.in_front
            and len(groups) < 3 and said(0.5) else None,
        ))
    place = dict(place=scene.place, plain_colour=scene.plain_colour, time=scene.time, weather=scene.weather)
    if full:
        if scene.weather == "clear" and rng.random() < 0.7:
            place["weather"] = None
        if scene.time == "day" and rng.random() < 0.7:
            place["time"] = None
    else:
        if rng.random() < 0.06:
            nouns = []  # A place alone.
        else:
            nouns = nouns[: rng.randint(1, len(nouns))]
            if rng.random() < 0.5:
                place["place"] = place["plain_colour"] = None
        if rng.random() < 0.6:
            place["time"] = None
        if rng.random() < 0.6:
            place["weather"] = None
        if not nouns and not place["place"]:
            place["place"] = scene.place
    relation = relation_2 = None
    if len(nouns) >= 2:
        relation = _relation(scene, nouns[0].kind, nouns[1].kind, rng, full)
    if len(nouns) == 4:
        relation_2 = _relation(scene, nouns[2].kind, nouns[3].kind, rng, full)
    return Description(tuple(nouns), relation, relation_2, **place)


def _relation(scene, a, b, rng, full):
    if not full and rng.random() < 0.25:
        return "near"
    if scene.in_front:
        return "front" if scene.groups[0].kind == a else "behind"
    (ax, ay), (bx, by) = scene.group(a).centre, scene.group(b).centre
    dx, dy = bx - ax, by - ay
    if max(abs(dx), abs(dy)) < 2 * MIN_OFFSET:
        return "near"
    if abs(dx) > abs(dy):
        return "left" if dx > 0 else "right"
    return "above" if dy > 0 else "below"


def may_hold(description: Description, scene: Scene) -> bool:
    """Whether a description could be said of a scene: only where this is False is the pair a sure mismatch."""
    for noun in description.nouns:
        group = scene.group(noun.kind)
        if group is None:
            return False
        if noun.count is not None and noun.count != group.count:
            return False
        if noun.colour is not None and noun.colour != group.colour:
            return False
        if noun.size is not None and noun.size != group.size:
            return False
    for relation, pair in ((description.relation, description.nouns[:2]), (description.relation_2, description.nouns[2:4])):
        if relation and not _relation_may_hold(relation, pair[0].kind, pair[1].kind, scene):
            return False
    return (
        description.place in (None, scene.place)
        and description.plain_colour in (None, scene.plain_colour)
        and description.time in (None, scene.time)
        and description.weather in (None, scene.weather)
    )


def _relation_may_hold(relation, a, b, scene):
    (ax, ay), (bx, by) = scene.group(a).centre, scene.group(b).centre
    return {
        "near": True,
        "left": ax < bx - 8, "right": ax > bx + 8, "above": ay < by - 8, "below": ay > by + 8,
        "front": scene.in_front and scene.groups[0].kind == a,
        "behind": scene.in_front and scene.groups[0].kind == b,
    }[relation]


def swapped(description: Description) -> Description | None:
    """The description with its first two nouns exchanged, where that makes it another claim."""
    if description.relation in (None, "near"):
        return None
    a, b = description.nouns[:2]
    return replace(description, nouns=(b, a) + description.nouns[2:])


def near_miss(description: Description, scene: Scene, rng: random.Random) -> Description | None:
    """A description that differs in one fact and is false of the scene."""
    for _ in range(8):
        nouns = list(description.nouns)
        change = rng.choices(("swap", "noun", "unknown", "count", "colour", "place", "time"), weights=(40, 20, 12, 8, 10, 8, 8))[0]
        changed = None
        if change == "swap":
            changed = swapped(description)
        elif change == "noun" and nouns:
            i = rng.randrange(len(nouns))
            kind = rng.choice([k for k in KINDS if scene.group(k) is None])
            colour = nouns[i].colour if THINGS[kind].recolourable else None
            nouns[i] = replace(nouns[i], kind=kind, colour=colour)
        elif change == "unknown" and nouns:
            i = rng.randrange(len(nouns))
            nouns[i] = replace(nouns[i], kind=unknown_noun(rng))
        elif change == "count" and nouns:
            i = rng.randrange(len(nouns))
            nouns[i] = replace(nouns[i], count=rng.choice([n for n in (2, 3, 4, 5) if n != nouns[i].count]), size=None)
        elif change == "colour":
            coloured = [i for i, n in enumerate(nouns) if n.colour]
            if coloured:
                i = rng.choice(coloured)
                nouns[i] = replace(nouns[i], colour=rng.choice([c for c in COLOURS if c != nouns[i].colour]))
        elif change == "place" and description.place:
            places = [p for p in PLACES if p not in (description.place, "plain")]
            changed = replace(description, place=rng.choice(places), plain_colour=None)
        elif change == "time" and (description.time or description.weather):
            if description.time:
                changed = replace(description, time=rng.choice([t for t in TIMES if t != description.time]))
            else:
                changed = replace(description, weather=rng.choice([w for w in WEATHERS if w != description.weather]))
        if changed is None:
            changed = replace(description, nouns=tuple(nouns))
        if changed != description and not may_hold(changed, scene):
            return changed
    return None


def write(description: Description, rng: random.Random, split: str, synonyms: float = 0.25) -> str:
    """A description in words. Two descriptions written with equally seeded generators read alike.
    `synonyms` is how often a thing goes by another name."""
    bare = len(description.nouns) == 1 and rng.random() < 0.25
    nouns = [_noun(noun, rng, bare, synonyms) for noun in description.nouns]
    relations = RELATIONS[split]
    if not nouns:
        text = rng.choice(PLACE_NOUNS[description.place]).format(colour=description.plain_colour)
    elif len(nouns) == 1:
        text = nouns[0]
    else:
        text = rng.choice(relations[description.relation or "near"]).format(a=nouns[0], b=nouns[1])
        if len(nouns) == 3:
            text = rng.choice(THIRD[split]).format(t=text, c=nouns[2])
        elif len(nouns) == 4:
            rest = rng.choice(relations[description.relation_2 or "near"]).format(a=nouns[2], b=nouns[3])
            text = rng.choice(FOURTH[split]).format(t=text, r=rest)
    where = []
    if description.place and nouns:
        where.append(rng.choice(PLACES[description.place]).format(colour=description.plain_colour))
    if description.time:
        where.append(rng.choice(TIMES[description.time]))
    if description.weather:
        where.append(rng.choice(WEATHERS[description.weather]))
    if len(where) > 2 and rng.random() < 0.5:
        where[1], where[2] = where[2], where[1]
    first = False
    if where:
        around = " ".join(where)
        order = rng.choice(ORDERS[split])
        first = order.startswith("{w}")
        text = order.format(t=text, w=around)
    frame = rng.choice(FRAMES[split])
    return text if first else frame.format(text=text)


def _noun(noun: Noun, rng, bare: bool, synonyms: float) -> str:
    thing = THINGS.get(noun.kind) or Thing(noun.kind, noun.kind + "s", (), (), False)
    if noun.count is not None:
        adjectives = [NUMBERS[noun.count]]
        name = thing.plural
    else:
        name = rng.choice(thing.synonyms) if thing.synonyms and rng.random() < synonyms else thing.noun
        adjectives = []
        if noun.size:
            adjectives.append({"small": rng.choice(("small", "little", "tiny")), "big": rng.choice(("big", "large", "huge"))}[noun.size])
    if noun.colour:
        adjectives.append(noun.colour)
    phrase = " ".join(adjectives + [name])
    if noun.count is not None or bare:
        return phrase
    return ("an " if phrase[0] in "aeiou" and not phrase.startswith("uni") else "a ") + phrase


def unknown_noun(rng: random.Random) -> str:
    """A noun that no picture shows: a real one, or syllables in a row, so that any unknown word comes to say so."""
    if rng.random() < 0.4:
        return rng.choice(ABSENT_TRAIN)
    syllable = lambda: rng.choice(ONSETS) + rng.choice("aeiou") + rng.choice(CODAS)
    return "".join(syllable() for _ in range(rng.randint(1, 4)))


def broken_facts(description: Description, scene: Scene) -> list[bool]:
    """For each noun whether what is said of it is false of a scene: its being there, its count, colour or size, or a
    relation that it takes part in."""
    broken = [not may_hold(Description((noun,)), scene) for noun in description.nouns]
    for relation, first in ((description.relation, 0), (description.relation_2, 2)):
        a, b = description.nouns[first : first + 2] if relation else (None, None)
        if relation and scene.group(a.kind) and scene.group(b.kind):
            false = not _relation_may_hold(relation, a.kind, b.kind, scene)
            broken[first] |= false
            broken[first + 1] |= false
    return broken


def absent_query(noun: str, rng: random.Random) -> str:
    """A query for something that no picture shows."""
    article = "an" if noun[0] in "aeiou" else "a"
    where = rng.choice(("", "", " " + rng.choice(PLACES[rng.choice(INDOORS + OUTDOORS)])))
    return f"{article} {noun}{where}"


def all_words() -> list[str]:
    """Every wording once, for the tokenizer."""
    texts = [t.format(a="", b="") for split in RELATIONS.values() for ts in split.values() for t in ts]
    texts += [t.format(colour=c) for ts in (*PLACES.values(), *PLACE_NOUNS.values()) for t in ts for c in PLAIN_COLOURS]
    texts += [t for table in (TIMES, WEATHERS) for ts in table.values() for t in ts]
    texts += [w for thing in THINGS.values() for w in (thing.noun, thing.plural, *thing.synonyms)]
    return texts
