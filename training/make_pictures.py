#!/usr/bin/env python3
"""Draws the sets that the demo model is measured and shown on: scenes whose compositions it never saw in
training, described in sentences that it never read.

    training/make_pictures.py --artwork ARTWORK --set test OUT

Each set is a folder of pictures and a captions.jsonl, as `bt-query eval` reads them.
"""

import argparse
import json
import random
from dataclasses import replace
from pathlib import Path

from world.artwork import HELD_OUT_STYLES, TRAIN_STYLES, Artwork
from world.captions import absent_query, describe, may_hold, swapped, write
from world.scene import Group, Sampler, Scene, render, unseen_composition
from world.things import ABSENT_KINDS, ABSENT_TEST, KINDS, THINGS

# Name → pictures, artwork styles, and how many siblings follow a scene at most: others that differ from it in a
# single fact. In `details` and `bursts` three and seven follow every scene, as photographs of one occasion do.
SETS = {
    "test": (1000, tuple(TRAIN_STYLES), lambda rng: int(rng.random() < 0.4)),
    "details": (1000, tuple(TRAIN_STYLES), lambda rng: 3),
    "bursts": (1000, tuple(TRAIN_STYLES), lambda rng: 7),
    "style": (1000, tuple(HELD_OUT_STYLES), lambda rng: int(rng.random() < 0.4)),
    "calibration": (1000, tuple(TRAIN_STYLES), lambda rng: int(rng.random() < 0.4)),
    "gallery": (300, tuple(TRAIN_STYLES), lambda rng: int(rng.random() < 0.4)),
}
ABSENT_QUERIES = 100
SIBLING_TRIES = 24  # Where several are wanted: some would fit another scene's caption too.


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artwork", type=Path, required=True)
    parser.add_argument("--set", choices=SETS, required=True)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    count, styles, siblings = SETS[args.set]
    rng = random.Random(f"measure {args.set}")
    artwork = Artwork(args.artwork)
    sampler = Sampler(artwork, styles, tuple(k for k in KINDS if k not in ABSENT_KINDS))
    chosen = showcase(sampler, rng) if args.set == "gallery" else []
    records = choose(sampler, rng, count, siblings, chosen)
    args.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (scene, description) in enumerate(records):
        name = f"{number + 1:04}.jpg"
        render(scene, artwork).save(args.out / name, "JPEG", quality=82, optimize=True)
        lines.append({"image": name, **texts(description, rng)})
    lines += [{"image": None, "caption": query} for query in absent_queries(rng)]
    (args.out / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(f"{len(records)} pictures and {ABSENT_QUERIES} queries for what they do not show in {args.out}")


def choose(sampler, rng, count, siblings, records):
    """Scenes with full descriptions, each true of its own scene alone."""
    def admit(scene):
        description = describe(scene, rng, full=True)
        if any(may_hold(description, other) or may_hold(theirs, scene) for other, theirs in records):
            return False
        records.append((scene, description))
        return True

    while len(records) < count:
        scene = sampler.unseen_scene(rng)
        if not admit(scene):
            continue
        wanted = siblings(rng)
        for _ in range(SIBLING_TRIES if wanted > 1 else wanted):
            if wanted and len(records) < count:
                sibling = sampler.sibling(scene, rng)
                wanted -= unseen_composition(sibling) and admit(sibling)
    return records


def texts(description, rng) -> dict:
    """A caption, a false one that differs by a swap, and a caption with its noun blanked, where there are such."""
    wording = rng.random()
    found = {"caption": write(description, random.Random(wording), "test")}
    swap = swapped(description)
    if swap:
        found["foils"] = [write(swap, random.Random(wording), "test")]
    single = [n.kind for n in description.nouns if n.count is None]
    if single:
        noun = THINGS[rng.choice(single)].noun
        plain = f" {write(description, random.Random(wording), 'test', synonyms=0)} "
        if plain.count(f" {noun}") == 1:
            found["cloze"] = [{"text": plain.replace(f" {noun}", " <mask>", 1).strip(), "answer": noun}]
    return found


def absent_queries(rng) -> list[str]:
    """Half for things that the model knows but no picture shows, half for things it never heard of."""
    known = [absent_query(rng.choice(ABSENT_KINDS), rng) for _ in range(ABSENT_QUERIES // 2)]
    unknown = [absent_query(rng.choice(ABSENT_TEST), rng) for _ in range(ABSENT_QUERIES // 2 - 1)]
    return ["a submarine", *known, *unknown]


def showcase(sampler, rng) -> list:
    """The scenes that the documentation looks for, each beside near misses."""
    def scene(place, *things, front=False, time=None, weather=None):
        groups = []
        for kind, colour, centre, side in things:
            group = sampler._dress(Group(kind, 1, None, "normal", centre, side, "", ""), rng)
            groups.append(replace(group, colour=colour))
        return Scene(tuple(groups), front, place, None, time, weather, rng.getrandbits(32))

    left, right = (72, 140), (190, 134)
    day = dict(time="day", weather="clear")
    scenes = [
        scene("room", ("cat", None, (78, 170), 84), ("window", None, (186, 86), 96)),
        scene("room", ("dog", None, (78, 170), 84), ("window", None, (186, 86), 96)),
        scene("room", ("cat", None, (186, 170), 84), ("door", None, (70, 110), 96)),
        scene("street", ("car", "red", left, 92), ("tree", None, right, 96), **day),
        scene("street", ("tree", None, left, 96), ("car", "red", right, 92), **day),
        scene("street", ("car", "blue", left, 92), ("tree", None, right, 96), **day),
        scene("field", ("dog", None, (70, 170), 90), ("horse", None, (186, 160), 96), **day),
        scene("field", ("horse", None, (70, 160), 96), ("dog", None, (186, 170), 90), **day),
        scene("kitchen", ("cake", None, (128, 140), 96)),
        scene("mountains", ("house", None, (120, 170), 96), time="sunset", weather="clear"),
        scene("beach", ("bicycle", None, (128, 170), 96), **day),
    ]
    return [(s, describe(s, rng, full=True)) for s in scenes]


if __name__ == "__main__":
    main()
