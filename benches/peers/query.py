#!/usr/bin/env python3
"""One query from nothing to printed hits, as `bt-query --no-rerank` does it: by `transformers` and hnswlib.

    query.py MODEL INDEX "a cat by a window" [--part tower] [--precision f32] [--exact]

`INDEX` is what made.py wrote. `--part whole` loads the checkpoint as its documentation says, `--part tower` only what a
query in words needs. `--exact` compares all vectors instead of searching hnswlib's graph.
"""

import argparse
import os
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}

import hnswlib
import numpy as np
import torch
from transformers import AutoTokenizer

import reference


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("index", type=Path)
    parser.add_argument("query")
    parser.add_argument("--part", choices=("whole", "tower"), default="tower")
    parser.add_argument("--precision", choices=reference.DTYPES, default="f32")
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = reference.TextEmbedder(args.model, reference.DTYPES[args.precision], alone=args.part == "tower")
    tokens = AutoTokenizer.from_pretrained(args.model)(args.query, return_tensors="pt")
    with torch.inference_mode():
        embedding = model(tokens["input_ids"]).float().numpy()
    hits = compare_all if args.exact else search
    paths = (args.index / "paths.txt").read_text().splitlines()
    for label, similarity in hits(args.index, embedding[0], args.top):
        print(f"{similarity:.4f}\t{paths[label]}")


def search(folder: Path, embedding: np.ndarray, top: int):
    index = hnswlib.Index(space="ip", dim=len(embedding))
    index.load_index(str(folder / "hnswlib.bin"))
    index.set_ef(200)
    labels, distances = index.knn_query(embedding, k=top)
    return zip(labels[0], 1 - distances[0])


def compare_all(folder: Path, embedding: np.ndarray, top: int):
    similarities = np.load(folder / "export" / "embeddings.npy") @ embedding
    labels = np.argsort(-similarities)[:top]
    return zip(labels, similarities[labels])


if __name__ == "__main__":
    main()
