"""Scenes: which things, how many, what colour and size, where, before which background."""

import random
import zlib
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from . import backgrounds
from .artwork import Artwork
from .backgrounds import INDOORS, OUTDOORS, PLAIN_COLOURS, SIDE, TIMELESS
from .things import COLOURS, KINDS, THINGS

MIN_OFFSET = 26  # Pixels by which centres differ before "left of" or "above" is said.
SIZES = {"small": (44, 54), "normal": (74, 96), "big": (124, 150)}


@dataclass(frozen=True)
class Group:
    """One kind of thing in a scene: `count` equal items about `centre`, in pixels of a 256 × 256 picture."""

    kind: str
    count: int
    colour: str | None
    size: str
    centre: tuple[float, float]
    item_side: float
    style: str
    icon: str


@dataclass(frozen=True)
class Scene:
    groups: tuple[Group, ...]
    in_front: bool  # Of two groups the first hides part of the second.
    place: str
    plain_colour: str | None
    time: str | None  # None where it does not show.
    weather: str | None
    seed: int  # Of everything that is drawn at random.

    def group(self, kind: str) -> Group | None:
        return next((g for g in self.groups if g.kind == kind), None)


def unseen_composition(scene: Scene) -> bool:
    """Whether two of a scene's things, or a thing and its place, never meet in training: 3 % of all such pairs,
    chosen by their names' checksums. Training leaves out every scene with one; measuring takes only such scenes."""
    kinds = sorted(g.kind for g in scene.groups)
    meetings = [f"{a} {b}" for i, a in enumerate(kinds) for b in kinds[i + 1 :]] + [f"{k} @{scene.place}" for k in kinds]
    return any(zlib.crc32(meeting.encode()) % 33 == 0 for meeting in meetings)


class Sampler:
    """Draws scenes at random. Same seed, same scenes."""

    def __init__(self, artwork: Artwork, styles: tuple[str, ...], kinds: tuple[str, ...] = KINDS):
        self.artwork = artwork
        self.styles = styles
        self.kinds = [k for k in kinds if any(artwork.choices(s, k) for s in styles)]

    def scene(self, rng: random.Random) -> Scene:
        place, colour, time, weather = self._background(rng)
        how_many = rng.choices((1, 2, 3, 4), weights=(26, 42, 20, 12))[0]
        kinds = rng.sample(self.kinds, how_many)
        groups, in_front = self._arrange(kinds, rng)
        return Scene(groups, in_front, place, colour, time, weather, rng.getrandbits(32))

    def unseen_scene(self, rng: random.Random) -> Scene:
        """A scene with a composition kept from training; as many things as in any other."""
        things = len(self.scene(rng).groups)
        while True:
            scene = self.scene(rng)
            if len(scene.groups) == things and unseen_composition(scene):
                return scene

    def sibling(self, scene: Scene, rng: random.Random) -> Scene:
        """The same scene but for one fact: an order, a count, a colour, a thing or the surroundings."""
        seed = rng.getrandbits(32)
        a = scene.groups[0]
        changes = ["thing"]
        if scene.time is not None or scene.place != "space":
            changes.append("surroundings")
        if len(scene.groups) > 1:
            changes += ["order"] * (5 if len(scene.groups) == 2 else 2)
        if a.colour:
            changes += ["colour"] * 2
        if len(scene.groups) == 1:
            changes += ["count"] * 2
        change = rng.choice(changes)
        groups = list(scene.groups)
        if change == "order":
            i, j = rng.sample(range(len(groups)), 2)
            groups[i], groups[j] = (
                replace(groups[i], centre=groups[j].centre),
                replace(groups[j], centre=groups[i].centre),
            )
            if scene.in_front:  # Whoever stands in the other's place also takes its depth and size.
                a, b = groups
                groups = [replace(b, item_side=a.item_side), replace(a, item_side=b.item_side)]
        elif change == "colour":
            others = [c for c in COLOURS if c != a.colour]
            groups[0] = replace(a, colour=rng.choice(others))
        elif change == "count":
            groups, _ = self._arrange([a.kind], rng, count=rng.choice([n for n in range(1, 6) if n != a.count]))
            groups = [replace(groups[0], colour=a.colour, style=a.style, icon=a.icon)]
        elif change == "thing":
            other = rng.choice([k for k in self.kinds if scene.group(k) is None])
            groups[0] = self._dress(replace(a, kind=other), rng)
        else:
            while True:
                place, colour, time, weather = self._background(rng)
                if (place, colour, time, weather) != (scene.place, scene.plain_colour, scene.time, scene.weather):
                    break
            return replace(scene, place=place, plain_colour=colour, time=time, weather=weather, seed=seed)
        return replace(scene, groups=tuple(groups), seed=seed)

    def _background(self, rng):
        place = rng.choice(INDOORS + OUTDOORS + TIMELESS)
        colour = rng.choice(tuple(PLAIN_COLOURS)) if place == "plain" else None
        if place in OUTDOORS:
            time = rng.choices(backgrounds.TIMES, weights=(55, 20, 25))[0]
            weathers = ("clear", "cloudy", "rain", "snow") if place not in ("desert", "beach", "sea") else ("clear", "cloudy", "rain")
            return place, None, time, rng.choices(weathers, weights=(50, 14, 18, 18)[: len(weathers)])[0]
        return place, colour, None, None

    def _dress(self, group: Group, rng) -> Group:
        """Chooses an artwork and a colour for a group's kind."""
        thing = THINGS[group.kind]
        options = [s for s in self.styles if self.artwork.choices(s, group.kind)]
        style = rng.choice(options)
        icon = rng.choice(self.artwork.choices(style, group.kind))
        colour = rng.choice(tuple(COLOURS)) if thing.recolourable else None
        return replace(group, style=style, icon=icon, colour=colour)

    def _arrange(self, kinds, rng, count=None):
        jitter = lambda v, by=10: v + rng.uniform(-by, by)
        side = lambda size: rng.uniform(*SIZES[size])
        blank = lambda kind, count, size, centre, px: self._dress(
            Group(kind, count, None, size, centre, px, "", ""), rng)
        if len(kinds) == 1:
            n = count or rng.choices((1, 2, 3, 4, 5), weights=(50, 16, 14, 10, 10))[0]
            if n == 1:
                size = rng.choice(("small", "normal", "normal", "big"))
                px = side(size)
                margin = px / 2 + 6
                centre = (rng.uniform(margin, SIDE - margin), rng.uniform(margin, SIDE - margin))
            else:
                size, px, centre = "normal", rng.uniform(*{2: (74, 92), 3: (62, 76)}.get(n, (52, 64))), (jitter(128), jitter(128))
            return (blank(kinds[0], n, size, centre, px),), False
        if len(kinds) == 2:
            layout = rng.choices(("beside", "stacked", "front"), weights=(50, 32, 18))[0]
            if layout == "front":
                front, back = rng.uniform(76, 92), rng.uniform(128, 148)
                x, y = jitter(128, 26), jitter(104, 12)
                dx = rng.choice((-1, 1)) * rng.uniform(10, 34)
                return (
                    blank(kinds[0], 1, "normal", (x + dx, y + 62), front),
                    blank(kinds[1], 1, "normal", (x, y), back),
                ), True
            groups = []
            for k, kind in enumerate(kinds):
                n = rng.choices((1, 2, 3), weights=(80, 12, 8))[0]
                size = rng.choices(("small", "normal", "big"), weights=(16, 68, 16))[0] if n == 1 else "normal"
                px = {1: min(side(size), 126), 2: rng.uniform(50, 58), 3: rng.uniform(40, 46)}[n]
                along, across = jitter(66 + 124 * k, 8), jitter(132, 34)
                groups.append(blank(kind, n, size, (along, across) if layout == "beside" else (across, along), px))
            return tuple(groups), False
        if len(kinds) == 3:
            spots = rng.choice((
                [(50, 128), (128, 128), (206, 128)],
                [(66, 66), (190, 66), (128, 190)],
                [(128, 66), (66, 190), (190, 190)],
            ))
        else:
            spots = [(66, 66), (190, 66), (66, 190), (190, 190)]
        groups = []
        for kind, (x, y) in zip(kinds, spots):
            size = rng.choices(("small", "normal"), weights=(20, 80))[0]
            px = rng.uniform(46, 52) if size == "small" else rng.uniform(66, 84)
            groups.append(blank(kind, 1, size, (jitter(x, 8), jitter(y, 10)), px))
        return tuple(groups), False


def item_centres(group: Group) -> list[tuple[float, float]]:
    """Where a group's items stand about its centre: a row for up to 3, two rows for more."""
    x, y = group.centre
    step = group.item_side * 1.06
    if group.count <= 3:
        xs = [x + (i - (group.count - 1) / 2) * step for i in range(group.count)]
        stagger = 0.0 if group.count < 3 else group.item_side * 0.5
        return [(cx, y + (stagger if i % 2 else -stagger)) for i, cx in enumerate(xs)]
    top = group.count // 2
    rows = [(top, y - step / 2), (group.count - top, y + step / 2)]
    return [(x + (i - (n - 1) / 2) * step, row_y) for n, row_y in rows for i in range(n)]


def render(scene: Scene, artwork: Artwork) -> Image.Image:
    """A scene as a picture, RGB, 256 × 256."""
    rng = random.Random(scene.seed)
    picture = backgrounds.draw(scene.place, scene.time, scene.weather, scene.plain_colour, rng)
    for group in reversed(scene.groups):
        sprite = artwork.sprite(group.style, group.icon, group.colour)
        scale = group.item_side / max(sprite.size)
        size = [max(1, round(side * scale)) for side in sprite.size]
        item = sprite.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        for cx, cy in item_centres(group):
            left = round(min(max(cx - size[0] / 2, 0), SIDE - size[0]))
            top = round(min(max(cy - size[1] / 2, 0), SIDE - size[1]))
            picture.paste(item, (left, top), item)
    if scene.weather:
        backgrounds.weather_overlay(picture, scene.weather, rng)
    return picture


def patch_labels(scene: Scene, patches: int) -> np.ndarray:
    """Which kind covers each of patches × patches cells: index into KINDS, or len(KINDS) for none.
    The trainer's auxiliary target, int64 [patches²]."""
    labels = np.full((patches, patches), len(KINDS), np.int64)
    cell = SIDE / patches
    middles = (np.arange(patches) + 0.5) * cell
    for group in reversed(scene.groups):
        half = group.item_side / 2 * 0.9
        for cx, cy in item_centres(group):
            cx = min(max(cx, half), SIDE - half)
            cy = min(max(cy, half), SIDE - half)
            inside = (abs(middles - cy) < half)[:, None] & (abs(middles - cx) < half)[None, :]
            labels[inside] = KINDS.index(group.kind)
    return labels.reshape(-1)
