#!/usr/bin/env python3
"""Our index against hnswlib and usearch on the same vectors, turn by turn in one run.

    pip install hnswlib usearch numpy
    benches/compare_hnsw.py [--vectors 10000 100000 1000000]

All build with M = 16 and ef_construction = 200 on `--threads` threads, and search on one, query after query. Each side
is a process of its own. Searches go round by round with growing `ef`, and medians of the rounds count. The table tells the times
at `--recall`, in between those of the two nearest `ef`. "Ours" searches through the whole library: it reads the records of
what it finds. Memory is what the process holds more than before it opened its index, after all searches: resident, and
of that what is not a mapped file; memory while building is not shown. "Built" leaves out what ours and no other
does besides: a durable store, of which the table tells the time.

Data: unit vectors of 512 coordinates around 1000 random centres; centre and Gaussian noise have the same length, as in
hnsw_recall.rs. Queries are drawn the same way and are not in the index. Seed 42.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
DIM, CENTRES, M, EF_CONSTRUCTION, K = 512, 1000, 16, 200, 10
EFS = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 400]
SIDES = ["ours", "hnswlib", "usearch"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--recall", type=float, default=0.98)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--sides", nargs="*", default=SIDES, choices=SIDES)
    parser.add_argument("--program", help="what `cargo bench --bench index --no-run` built, where it need not be built again")
    parser.add_argument("--keep", type=Path, help="a folder for vectors and indexes; what it has is not made again")
    args = parser.parse_args()
    program = args.program or built()
    print(f"{processor()}, {args.threads} threads for building, {args.queries} queries, {args.rounds} rounds")
    for count in args.vectors:
        if args.keep:
            compare(args, program, count, args.keep / str(count))
        else:
            with tempfile.TemporaryDirectory() as folder:
                compare(args, program, count, Path(folder))


def compare(args, program, count, folder: Path):
    vectors, queries, exact = data(folder, count, args.queries)
    sides = {name: Side(name, program, folder / name, args.threads) for name in args.sides}
    for side in sides.values():
        side.build(vectors)
    for side in sides.values():
        side.open()
    rows = {name: [] for name in sides}
    for ef in EFS:
        rounds = [{name: side.search(queries, ef) for name, side in sides.items()} for _ in range(args.rounds)]
        for name in sides:
            found = rounds[0][name]["found"]
            recall = sum(len(set(f) & set(e)) for f, e in zip(found, exact)) / exact.size
            at = lambda q: statistics.median(np.quantile(r[name]["seconds"], q) * 1e3 for r in rounds)
            rows[name].append((ef, recall, at(0.5), at(0.99)))
    report(args.recall, count, sides, rows)


def report(recall, count, sides, rows):
    print(f"\n### {count:,} vectors × {DIM} ({count * DIM * 4 / 1e6:,.0f} MB)\n")
    print(f"| | built, s (CPU s) | a second | p50, ms | p99, ms | open, s | memory, MB (of it no file) | disk, MB |")
    print("|---|---|---|---|---|---|---|---|")
    reached = {name: at_recall(recall, rows[name]) for name in sides}
    for name, side in sides.items():
        p50, p99 = reached[name]
        resident, anonymous = side.memory()
        build = side.built["graph"]
        print(f"| {name} | {build:.1f} ({side.built['cpu']:.1f}) | {count / build:,.0f} | {p50:.3f} | {p99:.3f} | {side.opened:.3f} "
              f"| {resident:,.0f} ({anonymous:,.0f}) | {side.bytes() / 1e6:,.0f} |")
    if "ours" in sides:
        print("\nours also: " + ", ".join(f"{what} {s:.1f} s" for what, s in sides["ours"].built.items() if what in ("commit", "publish")))
        for other in sorted(reached.keys() - {"ours"}):
            print(f"p50 of ours / {other} at recall@{K} {recall}: {reached['ours'][0] / reached[other][0]:.2f}")
    print("\n" + "; ".join(f"{n}: " + " ".join(f"{ef}→{r:.3f}/{p50:.2f}" for ef, r, p50, _ in rows[n]) for n in rows)
          + "  (ef→recall/p50 ms)")


def at_recall(recall: float, rows) -> list[float]:
    """p50 and p99 where a side finds so much."""
    _, found, *times = zip(*rows)
    if recall > max(found):
        return [float("nan")] * 2
    last = found.index(next(f for f in found if f >= recall)) + 1
    first = max(last - 2, 0)
    return [float(np.interp(recall, found[first:last], t[first:last])) for t in times]


def data(folder: Path, count: int, queries: int):
    """Paths of vectors and queries, and the numbers of the nearest."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "vectors.npy", folder / "queries.npy", folder / "nearest.npy"
    if not all(path.exists() for path in paths):
        random = np.random.default_rng(42)
        centres = random.standard_normal((CENTRES, DIM), dtype=np.float32)
        asked = sample(random, centres, queries)
        vectors = np.lib.format.open_memmap(paths[0], "w+", np.float32, (count, DIM))
        for start in range(0, count, 100_000):
            vectors[start:start + 100_000] = sample(random, centres, min(100_000, count - start))
        vectors.flush()
        scores = np.concatenate([asked @ vectors[s:s + 100_000].T for s in range(0, count, 100_000)], axis=1)
        np.save(paths[1], asked)
        np.save(paths[2], np.argpartition(-scores, K, axis=1)[:, :K])
    return paths[0], paths[1], np.load(paths[2])


def sample(random, centres, count: int):
    values = centres[random.integers(0, CENTRES, count)] + random.standard_normal((count, DIM), dtype=np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


class Side:
    """A process that builds, and another one that opens and searches."""

    def __init__(self, name: str, program: str, path: Path, threads: int):
        worker = [program, "-"] if name == "ours" else [sys.executable, __file__]
        self.command, self.path, self.threads = worker, path, threads
        self.environment = {} if name == "ours" else {"COMPARE_HNSW_WORKER": name}

    def start(self, threads: int):
        self.child = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
                                      | self.environment | {"RAYON_NUM_THREADS": str(threads)})

    def ask(self, *words) -> dict:
        self.child.stdin.write(" ".join(map(str, words)) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def build(self, vectors: Path):
        figures = self.path.with_suffix(".json")
        if not figures.exists():
            self.start(self.threads)
            figures.write_text(json.dumps(self.ask("build", self.path, vectors)))
            self.child.communicate()
        self.built = json.loads(figures.read_text())

    def open(self):
        self.start(1)
        self.ask("wait")
        self.before = usage(self.child.pid)
        self.opened = self.ask("open", self.path)["open"]

    def search(self, queries: Path, ef: int) -> dict:
        return self.ask("search", queries, K, ef)

    def memory(self) -> list[float]:
        return [(after - before) / 1e3 for before, after in zip(self.before, usage(self.child.pid))]

    def bytes(self) -> int:
        files = [self.path] if self.path.is_file() else [file for file in self.path.rglob("*") if file.is_file()]
        return sum(file.stat().st_size for file in files)


def usage(process: int) -> list[int]:
    """Resident memory of a process, and of it what is not a file, in kB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    values = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines if "kB" in line)}
    return [values["VmRSS"], values["RssAnon"]]


def worker(name: str):
    """The other side of `Side` for the libraries in Python; the same commands as benches/index.rs."""
    index = {"hnswlib": Hnswlib, "usearch": Usearch}[name]()
    for line in sys.stdin:
        command, *words = line.split()
        started, cpu = time.perf_counter(), time.process_time()
        if command == "build":
            vectors = np.load(words[1], mmap_mode="r")
            index.build(vectors, int(os.environ["RAYON_NUM_THREADS"]))
            answer = {"graph": time.perf_counter() - started, "cpu": time.process_time() - cpu}
            index.save(words[0])
        elif command == "open":
            index.open(words[0])
            answer = {"open": time.perf_counter() - started}
        elif command == "search":
            answer = {"found": [], "seconds": []}
            index.set_ef(int(words[2]))
            for query in np.load(words[0]):
                started = time.perf_counter()
                found = index.search(query, int(words[1]))
                answer["seconds"].append(time.perf_counter() - started)
                answer["found"].append([int(number) for number in found])
        else:  # wait
            answer = {}
        print(json.dumps(answer), flush=True)


class Hnswlib:
    def __init__(self):
        import hnswlib
        self.index = hnswlib.Index("ip", DIM)

    def build(self, vectors, threads):
        self.index.init_index(len(vectors), M=M, ef_construction=EF_CONSTRUCTION)
        for start in range(0, len(vectors), 10_000):
            self.index.add_items(vectors[start:start + 10_000], num_threads=threads)

    def save(self, path):
        self.index.save_index(path)

    def open(self, path):
        self.index.load_index(path)

    def set_ef(self, ef):
        self.index.set_ef(ef)

    def search(self, query, k):
        return self.index.knn_query(query, k, num_threads=1)[0][0]


class Usearch:
    def __init__(self):
        from usearch.index import Index
        self.index = Index(ndim=DIM, metric="ip", dtype="f32", connectivity=M, expansion_add=EF_CONSTRUCTION)

    def build(self, vectors, threads):
        for start in range(0, len(vectors), 10_000):
            part = np.ascontiguousarray(vectors[start:start + 10_000])
            self.index.add(np.arange(start, start + len(part)), part, threads=threads)

    def save(self, path):
        self.index.save(path)

    def open(self, path):
        self.index.load(path)

    def set_ef(self, ef):
        self.index.expansion_search = ef

    def search(self, query, k):
        return self.index.search(query, k, threads=1).keys


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def built() -> str:
    """The path of benches/index.rs's program."""
    command = ["cargo", "bench", "--bench", "index", "--no-run", "--message-format", "json"]
    lines = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    messages = [json.loads(line) for line in lines if line.startswith("{")]
    return next(m["executable"] for m in messages if m.get("target", {}).get("name") == "index" and m.get("executable"))


if __name__ == "__main__":
    name = os.environ.get("COMPARE_HNSW_WORKER")
    worker(name) if name else main()
