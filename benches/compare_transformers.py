#!/usr/bin/env python3
"""Ours against `transformers` and PyTorch on the same weights, turn by turn in one run.

    pip install -r tests/fixtures/requirements.txt
    scripts/make_random_checkpoint.py --size large --tokenizer roberta-large random-large
    benches/compare_transformers.py random-large

Both sides compute the same: photos through the image tower and the ITC head; and one text of 12 tokens with photos
through the matching head. `transformers` runs both towers for every pair. Decoding and tokenizing are left out. Each
round measures every side once; medians count, and with them ratios of the same round.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

import torch
import transformers
from transformers import BridgeTowerForContrastiveLearning, BridgeTowerForImageAndTextRetrieval

REPOSITORY = Path(__file__).resolve().parent.parent
TOKENS = [0, 4688, 2274, 9, 80, 10017, 22577, 15, 10, 16433, 116, 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--theirs", nargs="*", default=["f32", "bf16"])
    parser.add_argument("--ours", nargs="*", default=["f32", "bf16", "int8"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sides = {f"transformers {p}": Theirs(args.model, p) for p in args.theirs}
    program = built()
    sides |= {f"ours {p}": Ours(program, args.model, p, args.threads) for p in args.ours}
    work = {"photos embedded": ("embed", sides), "pairs matched": ("match", sides),
            "pairs, image side kept": ("fuse", {n: s for n, s in sides.items() if isinstance(s, Ours)})}
    seconds = {(what, name): [] for what, (_, able) in work.items() for name in able}
    for number in range(args.rounds + 1):
        for what, (command, able) in work.items():
            for name, side in able.items():
                took = side.measure(command, args.batch)
                if number:  # The first round reads and packs weights.
                    seconds[what, name].append(took)
    print(f"{platform.processor() or platform.machine()}, {args.threads} threads, batch {args.batch}, "
          f"{args.rounds} rounds; transformers {transformers.__version__}, PyTorch {torch.__version__}")
    report(work, seconds, args.batch)


def report(work, seconds, batch):
    for what, (command, able) in work.items():
        # Keeping the image side is compared with what `transformers` does for every pair.
        reference = "pairs matched" if command == "fuse" else what
        print(f"\n{what} a second")
        for name in able:
            took = seconds[what, name]
            line = f"  {name:18} {batch / statistics.median(took):7.3f}"
            for measured, other in seconds:
                if measured == reference and other.startswith("transformers") and other != name:
                    ratio = statistics.median(b / a for a, b in zip(took, seconds[reference, other]))
                    line += f"   {ratio:5.2f} × {other}"
            print(line)


class Theirs:
    def __init__(self, model: Path, precision: str):
        dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
        load = lambda task: task.from_pretrained(model, dtype=dtype).eval()
        self.contrastive = load(BridgeTowerForContrastiveLearning)
        self.matching = load(BridgeTowerForImageAndTextRetrieval)
        self.dtype = dtype
        self.side = self.contrastive.config.vision_config.image_size

    @torch.inference_mode()
    def measure(self, command: str, count: int) -> float:
        values = (torch.arange(count * 3 * self.side**2) * 2_654_435_761 % 2048) / 1024 - 1
        pixels = values.view(count, 3, self.side, self.side).to(self.dtype)
        ids = torch.tensor([TOKENS] * count)
        started = time.perf_counter()
        if command == "embed":
            self.embed(pixels)
        else:
            self.matching(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels)
        return time.perf_counter() - started

    def embed(self, pixels):
        """The image's part of `BridgeTowerForContrastiveLearning.forward`: all that an index needs."""
        trunk = self.contrastive.bridgetower
        visual = trunk.vision_model.visual
        state = visual.forward_pre(pixels)
        for block in visual.transformer.resblocks:
            state = block(state)
        first = trunk.cross_modal_image_transform(visual.forward_post(state))[:, 0] + trunk.token_type_embeddings.weight[1]
        return torch.nn.functional.normalize(self.contrastive.itc_image_head(first), dim=-1)


class Ours:
    def __init__(self, program: str, model: Path, precision: str, threads: int):
        self.child = subprocess.Popen(
            [program, str(model), precision], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"RAYON_NUM_THREADS": str(threads)})
        assert self.child.stdout.readline().startswith("ready")

    def measure(self, command: str, count: int) -> float:
        self.child.stdin.write(f"{command} {count}\n")
        self.child.stdin.flush()
        return float(self.child.stdout.readline())


def built() -> str:
    """The path of benches/model.rs's program."""
    command = ["cargo", "bench", "--bench", "model", "--no-run", "--message-format", "json"]
    lines = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    messages = [json.loads(line) for line in lines if line.startswith("{")]
    return next(m["executable"] for m in messages if m.get("target", {}).get("name") == "model" and m.get("executable"))


if __name__ == "__main__":
    main()
