#!/usr/bin/env python3
"""An index of made-up photos for both sides, without embedding any: an export that `bt-index import` reads, and the
same vectors as hnswlib's file.

    made.py MODEL.json OUT [--photos 100000]

`MODEL.json` is the `index.json` of an export by `bt-index`, whose model the new one takes over. Data: unit vectors
around 1000 random centres, as in `benches/hnsw_recall.rs`, seed 42. Both graphs have M = 16, ef_construction = 200.
"""

import argparse
import json
from pathlib import Path

import hnswlib
import numpy as np

GROUPS = 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=int, default=100_000)
    args = parser.parse_args()
    manifest = json.loads(args.manifest.read_text())
    dim = manifest["model"]["dim"]
    vectors = clustered(args.photos, dim)
    paths = [f"/home/someone/Pictures/{number // 1000:03}/IMG_{number:06}.jpg" for number in range(args.photos)]

    export = args.out / "export"
    export.mkdir(parents=True, exist_ok=True)
    np.save(export / "embeddings.npy", vectors)
    with (export / "photos.jsonl").open("w") as lines:
        for number, path in enumerate(paths):
            lines.write(json.dumps(record(number, path)) + "\n")
    manifest |= {"photos": args.photos, "vectors": args.photos, "folders": [{"path": "/home/someone/Pictures"}]}
    del manifest["blake3"]
    (export / "index.json").write_text(json.dumps(manifest))

    index = hnswlib.Index(space="ip", dim=dim)
    index.init_index(args.photos, M=16, ef_construction=200, random_seed=42)
    index.add_items(vectors)
    index.save_index(str(args.out / "hnswlib.bin"))
    (args.out / "paths.txt").write_text("\n".join(paths) + "\n")


def clustered(count: int, dim: int) -> np.ndarray:
    random = np.random.default_rng(42)
    centres = random.standard_normal((GROUPS, dim), dtype=np.float32)
    vectors = centres[random.integers(GROUPS, size=count)] + random.standard_normal((count, dim), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def record(number: int, path: str) -> dict:
    return {"row": number, "path": path, "size": 4_000_000 + number, "mtime_ns": 1_700_000_000_000_000_000 + number,
            "content_hash": f"{number:064x}", "width": 4032, "height": 3024, "captured_at": None, "gps": None,
            "camera": "Apple iPhone 13"}


if __name__ == "__main__":
    main()
