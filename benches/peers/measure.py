#!/usr/bin/env python3
"""A peer's speed, one command a line of standard input: what `benches/model.rs` is for ours, and with its commands.

    measure.py transformers MODEL bf16 embed [--compile]
    measure.py onnx MODEL int8 match --exports FOLDER

- `embed N`, `match N`: seconds for N photos, or for N pairs of one text and a photo; decoding and tokenizing left out;
- `show embed N`, `show match N`: what comes out, as JSON in one line.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

TOKENS = [0, 4688, 2274, 9, 80, 10017, 22577, 15, 10, 16433, 116, 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=("transformers", "onnx"))
    parser.add_argument("model", type=Path)
    parser.add_argument("precision", choices=("f32", "bf16", "int8"))
    parser.add_argument("work", choices=("embed", "match"))
    parser.add_argument("--compile", action="store_true", help="by torch.compile, with frozen weights")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--exports", type=Path, help="where the files for ONNX Runtime are, or will be")
    args = parser.parse_args()
    run, side = (by_transformers if args.peer == "transformers" else by_onnx)(args)
    print("ready", flush=True)
    for line in sys.stdin:
        *shown, work, count = line.split()
        assert work == args.work, f"started for {args.work}, not for {work}"
        inputs = {"pixel_values": pixels(int(count), side)}
        if work == "match":
            ids = np.array([TOKENS] * int(count))
            inputs |= {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        started = time.perf_counter()
        output = run(inputs)
        seconds = time.perf_counter() - started
        print(json.dumps(output.tolist() if shown else seconds), flush=True)


def by_transformers(args):
    import torch

    import torch._inductor.config

    import reference

    torch.set_num_threads(args.threads)
    kind = reference.ImageEmbedder if args.work == "embed" else reference.Matcher
    model = kind(args.model, reference.DTYPES[args.precision])

    if args.compile:
        torch._inductor.config.freezing = True
        model.compile(dynamic=False)

    # Not `inference_mode`: freezing refuses its tensors.
    @torch.no_grad()
    def run(inputs):
        return model(**{name: torch.from_numpy(values) for name, values in inputs.items()}).float().numpy()

    return run, model.image_size


def by_onnx(args):
    import exported

    session = exported.session(args.model, args.work, args.precision, args.exports, args.threads)
    shapes = {entry.name: entry.shape for entry in session.get_inputs()}
    return lambda inputs: session.run(None, inputs)[0], shapes["pixel_values"][-1]


def pixels(count: int, side: int) -> np.ndarray:
    """`[N, 3, S, S]`, between −1 and 1, by the formula of benches/model.rs."""
    values = (np.arange(count * 3 * side * side) * 2_654_435_761 % 2048) / 1024 - 1
    return values.astype(np.float32).reshape(count, 3, side, side)


if __name__ == "__main__":
    main()
