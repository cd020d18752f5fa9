"""A text and a graph that are larger than what a process may hold: time and memory.

    python benchmarks/beyond_memory.py text FOLDER 4              # a text of 4 GB
    python benchmarks/beyond_memory.py graph FOLDER 10 100        # 10⁷ nodes, 10⁸ edges given

FOLDER is made, filled and left there. Memory is what the system says is resident at most: of the
process's own, and of pages of mapped files, which it may drop. The text is a real one (`--data
democracy`, or that of the package `pydoc_data`), repeated with other names each time.
"""

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

VARIANTS = 100
"""Texts with other names, which then come again."""

CLASSES, FEATURES, LABELLED = 40, 64, 0.02


def write_text(path: Path, gigabytes: float) -> None:
    """Write a text that repeats a real one, its capitalised words each time replaced by others."""
    from plait.data import read_text
    from plait.errors import InputError

    try:
        text = read_text("democracy").characters
    except InputError:
        text = read_text("python-docs").characters
    pieces = re.split(r"((?<=[a-z,] )[A-Z][a-z]{2,})", text)  # names are the odd ones
    names, draw = sorted(set(pieces[1::2])), random.Random(0)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "or")]
    with path.open("wb") as file:
        texts = list[bytes]()
        while file.tell() < gigabytes * 1e9:
            if len(texts) < VARIANTS:
                other = {name: "".join(draw.choices(syllables, k=3)).capitalize() for name in names}
                names = list(dict.fromkeys(other.values()))
                pieces[1::2] = [other[name] for name in pieces[1::2]]
                texts.append("".join(pieces).encode())
            else:
                texts.append(texts.pop(0))
            file.write(texts[-1])


def write_graph(folder: Path, nodes: int, edges: int) -> None:
    """Write edges, most of them within a class, features around the class's mean, some labels."""
    draw = np.random.default_rng(0)
    index = np.lib.format.open_memmap(
        folder / "edges.npy", mode="w+", dtype=np.int64, shape=(2, edges)
    )
    block = 2**22
    for at in range(0, edges, block):
        n = min(block, edges - at)
        source = (nodes * draw.random(n) ** 2).astype(np.int64)  # some have many neighbours
        within = draw.random(n) < 0.6  # node i is of class i mod CLASSES
        target = draw.integers(0, nodes // CLASSES, n) * CLASSES
        target += np.where(within, source % CLASSES, draw.integers(0, CLASSES, n))
        index[:, at : at + n] = source, target
    index.flush()
    features = np.lib.format.open_memmap(
        folder / "features.npy", mode="w+", dtype=np.float32, shape=(nodes, FEATURES)
    )
    means = draw.standard_normal((CLASSES, FEATURES), np.float32) / 8
    for at in range(0, nodes, 2**20):
        n = min(2**20, nodes - at)
        noise = draw.standard_normal((n, FEATURES), np.float32)
        features[at : at + n] = noise + means[np.arange(at, at + n) % CLASSES]
    features.flush()
    labels = np.where(draw.random(nodes) < LABELLED, np.arange(nodes) % CLASSES, -1)
    np.save(folder / "labels.npy", labels.astype(np.int32))


def watched(name: str, words: list[str], folder: Path) -> None:
    """Run a command; print its time and the most memory that was resident."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, *words], env=environment) as process:
        most = {"RssAnon": 0, "RssFile": 0, "VmRSS": 0, "VmHWM": 0}
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                break
            for key in most:
                found = re.search(rf"{key}:\s+(\d+)", status)
                most[key] = max(most[key], int(found[1]) if found else 0)
            time.sleep(0.05)
    seconds = time.perf_counter() - began
    print(
        f"{name}: {seconds:.1f} s, resident at most {most['VmHWM'] / 1e6:.2f} GB (own "
        f"{most['RssAnon'] / 1e6:.2f}, mapped {most['RssFile'] / 1e6:.2f}), exit "
        f"{process.returncode}",
        flush=True,
    )


READ = """
import sys, time
from plait.api import make_task
from plait.tasks import config_class
began = time.perf_counter()
config = config_class("text").of({"data": sys.argv[1], "units": sys.argv[2], "length": 64,
                                  "batch_size": 32, "threads": 1})
task = make_task("text", config)
print(f"  read in {time.perf_counter() - began:.1f} s: {len(task.training):,} symbols to train on")
for step in range(1, 1001):
    task.batch(step)
began = time.perf_counter()
for step in range(1001, 2001):
    task.batch(step)
print(f"  a batch of 32 x 64 in {time.perf_counter() - began:.3f} ms")
"""


def text(folder: Path, gigabytes: float) -> None:
    """Read a large text twice, and train on it."""
    path = folder / "large.txt"
    write_text(path, gigabytes)
    print(f"a text of {path.stat().st_size / 1e9:.2f} GB", flush=True)
    readings = (("chars", "first reading"), ("chars", "second"), ("bytes", "first reading"))
    for units, name in readings:
        watched(f"{units}, {name}", ["-c", READ, str(path), units], folder)
    options = "--hidden-size 64 --layers 1 --length 64 --batch-size 32 --threads 1"
    options += " --steps 200 --validate-every 200"
    words = ["-m", "plait", "train", "text", "--data", str(path), *options.split()]
    watched("200 steps, scored", [*words, "--out", str(folder / "run")], folder)


SAMPLE = """
import sys, time
import numpy as np
from pathlib import Path
from plait.graph_data.folder import GraphFolder
from plait.nn.neighbours import NeighbourSampler
graph = GraphFolder(Path(sys.argv[1]))
sampler = NeighbourSampler(graph.edges, [15, 10], seed=0)
draw = np.random.default_rng(0)
found, seconds = 0, []
for k in range(60):
    seeds = draw.choice(graph.num_nodes, 1024, replace=False)
    began = time.perf_counter()
    nodes, part = sampler.sample(seeds, k)
    if k >= 10:
        seconds.append(time.perf_counter() - began)
        found += part.num_edges
print(f"  {found / sum(seconds):,.0f} edges sampled a second, 15 and 10 by hop, batches of 1,024: "
      f"{1000 * np.median(seconds):.1f} ms each")
"""


AHEAD = """
import sys, time
import numpy as np
import torch
from plait.api import make_task
from plait.tasks import config_class
from plait.training.ahead import Ahead
torch.set_num_threads(1)
task = make_task("nodes", config_class("nodes").of(
    {"data": sys.argv[1], "operator": "sage", "split": "most", "sample": "15,10", "layers": 2,
     "hidden_size": 64, "batch_size": 1024, "dropout": 0.0}))
def step(batch):
    task.loss(task.model, batch, ())[0].backward()
for k in range(1, 11):
    step(task.batch(k))
batches, steps, began = [], [], time.thread_time()
for k in range(11, 31):
    batch = task.batch(k)
    batches.append(time.thread_time() - began)
    step(batch)
    steps.append(time.thread_time() - began - batches[-1])
    began = time.thread_time()
batch, one = np.median(batches), np.median(steps)
print(f"  seconds of the processor: a batch {batch:.3f}, a step {one:.3f}")
found = {"in turn": [], "ahead": []}
for turn in range(3):
    for name, times in found.items():
        with Ahead(task.batch, 1000) as ahead:
            batch = ahead if name == "ahead" else task.batch
            batch(99 + 20 * turn)
            began = time.perf_counter()
            for k in range(100 + 20 * turn, 120 + 20 * turn):
                step(batch(k))
            times.append((time.perf_counter() - began) / 20)
print("  by the clock, a step with its batch:", {k: f"{min(v):.3f} s" for k, v in found.items()})
"""


def graph(folder: Path, nodes: int, edges: int) -> None:
    """Import a large graph, sample it, and train two models on it."""
    write_graph(folder, nodes, edges)
    web = folder / "web"
    words = ["-m", "plait", "graph", "import", str(folder / "edges.npy"), "--out", str(web)]
    words += ["--features", str(folder / "features.npy"), "--labels", str(folder / "labels.npy")]
    watched("imported", words, folder)
    watched("sampled", ["-c", SAMPLE, str(web)], folder)
    watched("ahead", ["-c", AHEAD, str(web)], folder)
    options = "--split most --sample 15,10 --batch-size 1024 --hidden-size 64 --layers 2"
    options += " --steps 200 --validate-every 200 --threads 1 --dropout 0"
    for operator in ("sage", "gcn"):
        out = folder / operator
        words = ["-m", "plait", "train", "nodes", "--data", str(web), "--operator", operator]
        watched(f"{operator}, 200 steps", [*words, *options.split(), "--out", str(out)], folder)
        records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        tested = next(r for r in records if r["kind"] == "test")
        valid = next(r for r in records if r["kind"] == "valid")
        print(f"  {valid['seconds'] / 200:.3f} s a step; {tested}")


if __name__ == "__main__":
    mode, place, *sizes = sys.argv[1:]
    Path(place).mkdir(parents=True)
    if mode == "text":
        text(Path(place), float(sizes[0]))
    else:
        graph(Path(place), round(1e6 * float(sizes[0])), round(1e6 * float(sizes[1])))
