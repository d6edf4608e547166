#!/usr/bin/env python3
"""Ours beside `transformers` with PyTorch, ONNX Runtime and hnswlib on the same weights, turn by turn in one run. Prints
the tables of the documentation, in Markdown.

    pip install -r benches/peers/requirements.txt
    scripts/make_random_checkpoint.py --size large --tokenizer roberta-large random-large
    benches/compare.py random-large photos work [--only cold-start]

`photos` is a folder of JPEGs. `work` is kept between runs: it holds what ONNX Runtime reads (6 GB for the large size;
exporting takes 16 GB of memory, once) and an index of made-up photos. Measured:

- `embed`: photos through the image tower and the ITC head, as an index needs them;
- `match`: one text of 12 tokens with photos, through everything up to the matching head, as reranking needs them; for
  ours also a reranking of 10 photos of which something is kept, as `--cache split` and `--cache full` do;
- `cold-start`: whole processes, from nothing to the printed hits of a query in words over 100,000 vectors;
- `build`: whole processes, from 16 JPEGs to their embeddings on disk.

The first two leave out decoding and tokenizing, and their pixels come by formula. Every side has a process of its own and
the same number of threads; each round measures every side once; medians count, and with them ratios of the same round. A
round before the first, which reads weights and warms caches, does not count.
"""

import argparse
import importlib.metadata
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers.processes import Finished, Side, finish

REPOSITORY = Path(__file__).resolve().parent.parent
PEERS = REPOSITORY / "benches" / "peers"
SIDES = ["transformers f32", "transformers bf16", "compiled transformers bf16", "ONNX Runtime f32", "ONNX Runtime int8",
         "ours f32", "ours bf16", "ours int8"]
EXACT = SIDES[0]
QUERY = "a cat by a window"
# Photos that a reranking reads with one text: the default where the model is large.
RERANKED = 10
# Photos of a build, and how many it embeds at once.
BUILT, BUILD_BATCH = 16, 8


def main():
    sections = {"embed": embed, "match": match, "cold-start": cold_start, "build": build}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=existing, help="checkpoint: a folder in the Hugging Face layout")
    parser.add_argument("photos", type=existing, help="folder of JPEGs")
    parser.add_argument("work", type=lambda path: Path(path).absolute(), help="folder for what takes long to make")
    parser.add_argument("--only", nargs="+", choices=sections, default=list(sections), metavar="SECTION")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES, metavar="SIDE", help="of embed and match")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2, help="photos at once in embed and match")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    os.environ |= {"RAYON_NUM_THREADS": str(args.threads), "OMP_NUM_THREADS": str(args.threads)}
    print(setting(args), flush=True)
    for name in args.only:
        sections[name](args)


def existing(path: str) -> Path:
    return Path(path).resolve(strict=True)


def setting(args) -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = dict(line.split(":", 1) for line in lines if ":" in line)
    cpu = {key.strip(): value.strip() for key, value in cpu.items()}
    features = {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"} & set(cpu["flags"].split())
    packages = ("transformers", "torch", "onnxruntime", "hnswlib")
    versions = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    commit = output(["git", "describe", "--always", "--dirty"]).strip()
    return (f"{cpu['model name']}, family {cpu['cpu family']} ({', '.join(sorted(features))}), {args.threads} threads; "
            f"checkpoint {args.model.name}; {args.rounds} rounds; {', '.join(versions)}; ours {commit}")


# --- models that stay loaded ---


def embed(args):
    compare_models(args, f"Photos embedded, batch {args.batch}", "embed", [("embed", "", args.batch)])


def match(args):
    works = [("match", "", args.batch), ("rerank split", ", state below the bridge kept", RERANKED),
             ("rerank full", ", image side kept", RERANKED)]
    compare_models(args, f"Pairs of a text and a photo matched, batch {args.batch}", "match", works)


def compare_models(args, title: str, common: str, works: list[tuple[str, str, int]]):
    """`works` are commands, what they add to the name of a side, and how many photos they take; the `common` command is
    known to all, others to ours."""
    sides = {name: Side(command(args, name, common)) for name in args.sides}
    shown = {name: side.show(common, args.batch) for name, side in sides.items()}
    measured = {name + suffix: lambda side=side, work=work, photos=photos: side.measure(work, photos) / photos
                for work, suffix, photos in works for name, side in sides.items() if work == common or is_ours(name)}
    seconds = take_turns(args.rounds, measured)
    for side in sides.values():
        side.stop()
    peers = [name for name in sides if not is_ours(name)]
    rows = []
    for name, took in seconds.items():
        close = difference(common, shown[name], shown[EXACT]) if name in shown and EXACT in shown else ""
        rows.append([name, f"{1 / statistics.median(took):.2f}", close, *ratios(seconds, name, peers)])
    closeness = "cosine to f32" if common == "embed" else "logits off f32"
    table(title, ["", "a second", closeness, *(f"× {peer}" for peer in peers)], rows)


def command(args, side: str, work: str) -> list:
    precision = side.split()[-1]
    if is_ours(side):
        return [benchmark(), args.model, precision]
    peer = "transformers" if "transformers" in side else "onnx"
    options = ["--threads", args.threads, "--exports", args.work / "onnx"] + ["--compile"] * side.startswith("compiled")
    return [sys.executable, PEERS / "measure.py", peer, args.model, precision, work, *options]


def difference(work: str, outputs: list[list[float]], exact: list[list[float]]) -> str:
    """How far a side is from `transformers` in f32 where it is farthest."""
    pairs = list(zip(outputs, exact, strict=True))
    if work == "embed":
        return f"{min(dot(a, b) / math.sqrt(dot(a, a) * dot(b, b)) for a, b in pairs):.5f}"
    return f"{max(abs(x - y) for a, b in pairs for x, y in zip(a, b, strict=True)):.4f}"


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


# --- whole processes ---


def cold_start(args):
    """By `transformers` in two ways: as its documentation loads a model, whole, and reading the text tower alone."""
    made = made_index(args)
    ours = [program("bt-query"), "--index", made / "ours", "--no-rerank", "--offline", "--model", args.model, QUERY]
    theirs = [sys.executable, PEERS / "query.py", args.model, made, QUERY, "--threads", args.threads]
    commands = {f"transformers and hnswlib, {part}, {precision}": [*theirs, "--part", part, "--precision", precision]
                for part, precision in [("whole", "bf16"), ("tower", "f32"), ("tower", "bf16")]}
    commands["ours"] = ours
    hits = {name: hit_paths(command) for name, command in commands.items()}
    nearest = hit_paths([*theirs, "--exact"])
    finished = take_turns(args.rounds, {name: lambda command=command: finish(command) for name, command in commands.items()})
    seconds = {name: [run.seconds for run in runs] for name, runs in finished.items()}
    rows = [[name, f"{statistics.median(took):.2f} s", *ratios(seconds, "ours", [name]), memory(finished[name]),
             str(len(hits[name] & nearest))] for name, took in seconds.items()]
    table("One query in words over 100,000 vectors, from nothing to printed hits",
          ["", "time", "ours is × as fast", MEMORY, "of the 10 nearest"], rows)


def hit_paths(command: list) -> set[str]:
    return {line.split("\t")[1] for line in output(command).splitlines()}


def build(args):
    """By `transformers` in two ways, as in the cold start."""
    with tempfile.TemporaryDirectory() as folder:
        photos, folder = Path(folder) / "photos", Path(folder)
        photos.mkdir()
        for photo in sorted(args.photos.glob("*.jpg"))[:BUILT]:
            shutil.copy(photo, photos)
        ours = [program("bt-index"), "build", photos, "--rebuild", "--quiet", "--offline", "--model", args.model,
                "--batch", BUILD_BATCH, "--index"]
        theirs = [sys.executable, PEERS / "embed.py", args.model, photos, "--threads", args.threads,
                  "--batch", BUILD_BATCH, "--precision", "bf16"]
        commands = {f"transformers, {part}, bf16": [*theirs, folder / "theirs.npy", "--part", part] for part in ("whole", "tower")}
        commands |= {f"ours {precision}": [*ours, folder / precision, "--precision", precision] for precision in ("bf16", "int8")}
        finished = take_turns(args.rounds, {name: lambda command=command: finish(command) for name, command in commands.items()})
    seconds = {name: [run.seconds for run in runs] for name, runs in finished.items()}
    peers = [name for name in commands if not is_ours(name)]
    rows = [[name, f"{statistics.median(took):.2f} s", *ratios(seconds, name, peers), memory(finished[name])]
            for name, took in seconds.items()]
    head = ["", "time", *(f"× {peer}" for peer in peers), MEMORY]
    table(f"{BUILT} JPEGs to embeddings on disk, batch {BUILD_BATCH}", head, rows)


MEMORY = "memory at most; without mapped files"


def memory(runs: list[Finished]) -> str:
    peak, own = (statistics.median(values) for values in zip(*((run.peak, run.own) for run in runs)))
    return f"{peak / 1e9:.2f} GB; {own / 1e9:.2f} GB"


def made_index(args) -> Path:
    """100,000 made-up photos for both sides, of this checkpoint as far as its fingerprint tells."""
    made = args.work / f"{args.model.name}-made"
    if not made.exists():
        draft = made.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        (draft / "photos").mkdir(parents=True)
        shutil.copy(min(args.photos.glob("*.jpg")), draft / "photos")
        index = program("bt-index")
        output([index, "--index", draft / "small", "build", draft / "photos", "--offline", "--model", args.model])
        output([index, "--index", draft / "small", "export", draft / "small.export"])
        output([sys.executable, PEERS / "made.py", draft / "small.export" / "index.json", draft])
        output([index, "--index", draft / "ours", "import", draft / "export"])
        draft.rename(made)
    return made


# --- measuring and printing ---


def take_turns(rounds: int, measured: dict) -> dict[str, list]:
    """What each of `measured` returns in each round, but for the first."""
    results = {name: [] for name in measured}
    for number in range(rounds + 1):
        for name, measure in measured.items():
            # Threads of the side before may wait for more work by spinning.
            time.sleep(0.3)
            result = measure()
            if number:
                results[name].append(result)
    return results


def ratios(seconds: dict[str, list[float]], name: str, others: list[str]) -> list[str]:
    """How many times as fast as each of the others: the median over rounds."""
    return ["" if other == name else f"{statistics.median(b / a for a, b in zip(seconds[name], seconds[other])):.2f}"
            for other in others]


def table(title: str, head: list[str], rows: list[list[str]]):
    print(f"\n**{title}**\n")
    for row in (head, ["---"] * len(head), *rows):
        print("|", " | ".join(row), "|")
    sys.stdout.flush()


def is_ours(side: str) -> bool:
    return side.startswith("ours")


def program(name: str) -> str:
    return built(["build", "--release", "-p", name], name)


def benchmark() -> str:
    return built(["bench", "--bench", "model", "--no-run"], "model")


def built(cargo: list[str], name: str) -> str:
    lines = output(["cargo", *cargo, "--message-format", "json"]).splitlines()
    messages = [json.loads(line) for line in lines if line.startswith("{")]
    return next(m["executable"] for m in messages if m.get("target", {}).get("name") == name and m.get("executable"))


def output(command: list) -> str:
    return subprocess.run([*map(str, command)], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
