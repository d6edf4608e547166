#!/usr/bin/env python3
"""Draws the scenes to train on: pairs of siblings, preprocessed as the engine does, into one file each part.

    training/pool.py --artwork ARTWORK --scenes 100000 POOL
"""

import argparse
import io
import os
import pickle
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from model import IMAGE_SIDE, PATCH
from world.artwork import TRAIN_STYLES, Artwork
from world.scene import Sampler, patch_labels, render

PART = 5000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artwork", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=100_000)
    parser.add_argument("--first-part", type=int, default=0)
    parser.add_argument("pool", type=Path)
    args = parser.parse_args()
    args.pool.mkdir(parents=True, exist_ok=True)
    parts = range(args.first_part, args.first_part + args.scenes // PART)
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        for part in workers.map(draw_part, [args.artwork] * len(parts), [args.pool] * len(parts), parts):
            print(f"part {part} drawn", flush=True)


def draw_part(folder: Path, pool: Path, part: int) -> int:
    target = pool / f"{part:03}.npy"
    if target.exists():
        return part
    rng = random.Random(f"train {part}")
    artwork = Artwork(folder)
    sampler = Sampler(artwork, tuple(TRAIN_STYLES))
    scenes = []
    while len(scenes) < PART:
        scene = sampler.scene(rng)
        scenes += [scene, sampler.sibling(scene, rng)]
    pixels = np.stack([preprocess(as_photo(render(s, artwork), rng)) for s in scenes])
    labels = np.stack([patch_labels(s, IMAGE_SIDE // PATCH) for s in scenes]).astype(np.uint8)
    np.save(pool / f"{part:03}-labels.npy", labels)
    (pool / f"{part:03}.pickle").write_bytes(pickle.dumps(scenes))
    np.save(target, pixels)
    return part


def as_photo(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Half of the pictures pass through a JPEG, as a gallery's do."""
    if rng.random() < 0.5:
        return picture
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=rng.randint(70, 95))
    return Image.open(file).convert("RGB")


def preprocess(picture: Image.Image) -> np.ndarray:
    """As BridgeTower's processor for a square picture: uint8 [3, side, side]."""
    return np.asarray(picture.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC)).transpose(2, 0, 1)


if __name__ == "__main__":
    main()
