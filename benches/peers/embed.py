#!/usr/bin/env python3
"""Photos of a folder into a file of embeddings, as `bt-index build` does it: by `transformers`.

    embed.py MODEL PHOTOS OUT.npy [--part tower] [--batch 8] [--precision bf16]
"""

import argparse
import os
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}

import numpy as np
import torch
from PIL import Image, ImageOps
from transformers import BridgeTowerImageProcessorPil

import reference


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", choices=("whole", "tower"), default="tower", help="of the checkpoint to load")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", choices=reference.DTYPES, default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = reference.ImageEmbedder(args.model, reference.DTYPES[args.precision], alone=args.part == "tower")
    processor = BridgeTowerImageProcessorPil.from_pretrained(args.model)
    paths = sorted(path for path in args.photos.iterdir() if path.suffix == ".jpg")
    embeddings = []
    for start in range(0, len(paths), args.batch):
        photos = [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in paths[start:start + args.batch]]
        pixels = processor(photos, return_tensors="pt")["pixel_values"]
        embeddings.append(model(pixels).float().numpy())
    np.save(args.out, np.concatenate(embeddings))


if __name__ == "__main__":
    main()
