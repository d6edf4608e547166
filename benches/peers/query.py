#!/usr/bin/env python3
"""One query from nothing to printed hits, as `bt-query --no-rerank` does it: by `transformers` and hnswlib.

    query.py MODEL INDEX "a cat by a window" [--part text] [--precision f32]

`INDEX` is what made.py wrote. `--part whole` loads the checkpoint as its documentation says, `--part text` only what
a query in words needs.
"""

import argparse
import os
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}

import hnswlib
import torch
from transformers import AutoTokenizer

import reference


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("index", type=Path)
    parser.add_argument("query")
    parser.add_argument("--part", choices=("whole", "text"), default="text")
    parser.add_argument("--precision", choices=reference.DTYPES, default="f32")
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = reference.TextEmbedder(args.model, reference.DTYPES[args.precision], alone=args.part == "text")
    tokens = AutoTokenizer.from_pretrained(args.model)(args.query, return_tensors="pt")
    with torch.inference_mode():
        embedding = model(tokens["input_ids"]).float().numpy()
    index = hnswlib.Index(space="ip", dim=embedding.shape[1])
    index.load_index(str(args.index / "hnswlib.bin"))
    index.set_ef(200)
    labels, distances = index.knn_query(embedding, k=args.top)
    paths = (args.index / "paths.txt").read_text().splitlines()
    for label, distance in zip(labels[0], distances[0]):
        print(f"{1 - distance:.4f}\t{paths[label]}")


if __name__ == "__main__":
    main()
