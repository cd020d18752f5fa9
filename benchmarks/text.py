"""The text task: what it reaches, what its options gain, and its speed against torch.nn.

    python benchmarks/text.py accuracy    training accuracy under both protocols, three seeds
    python benchmarks/text.py speed       steps per second against nn.LSTM in a bare loop
    python benchmarks/text.py options     what each option pays on held-out text
    python benchmarks/text.py minutes     held-out scores after 1, 3 and 10 minutes of training

All need the text `democracy` under $PLAIT_DATA. The last two take --data, --seeds (their number)
and any other option of the text task, for all of their runs: --steps 20 --hidden-size 16.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import plait
from plait.comparison.grid import read_vary
from plait.tasks.text.config import TextConfig
from plait.tasks.text.task import TextTask
from plait.training.loop import Loop
from plait.training.progress import Progress
from plait.training.run import Run

REPORTED = (0.590, 0.598, 0.619)

OPTIONS: dict[str, dict[str, Any]] = {
    "--recipe good": {},
    "constant learning rate": {"schedule": "constant"},
    "no warm-up": {"warmup": 0},
    "weight decay 0.03": {"weight_decay": 0.03},
    "dropout 0.1": {"dropout": 0.1},
    "recurrent dropout 0.1": {"recurrent_dropout": 0.1},
    "embedding as wide as the state": {"embedding_size": 256},
    "the same, tied": {"embedding_size": 256, "tied": True},
    "averaged weights, 0.98": {"average": 0.98},
    "averaged, constant learning rate": {"average": 0.98, "schedule": "constant"},
    "windows from a zero state": {"batches": "windows"},
    "Muon, lr 0.016": {"optimizer": "muon", "lr": 0.016},
    "byte pairs, at most 1,000 symbols": {"units": "bpe", "vocabulary": 1000},
}
"""Each changes the recipe by itself."""

MINUTES = (1, 3, 10)


def accuracy() -> None:
    """Mean training accuracy of the 100 batches before steps 1000, 2000 and 3000."""
    print(f"the report, single batches:           {REPORTED}")
    for batches in ("windows", "lanes"):
        rows = []
        for seed in (0, 1, 2):
            with tempfile.TemporaryDirectory() as folder:
                run = plait.train(
                    "text", data="democracy", keep_boilerplate=True, batches=batches, seed=seed,
                    out=Path(folder, "run"),
                )  # fmt: skip
                values = [r["accuracy"] for r in run.records("train")]
                (test,) = run.records("test")
            rows.append([statistics.mean(values[s - 100 : s]) for s in (1000, 2000, 3000)])
            bits = f"test {test['bits_per_character']:.3f} bits per character"
            print(f"{batches}, seed {seed}: {[round(v, 4) for v in rows[-1]]}, {bits}", flush=True)
        mean = [round(statistics.mean(column), 4) for column in zip(*rows, strict=True)]
        spread = [round(statistics.stdev(column), 4) for column in zip(*rows, strict=True)]
        print(f"{batches}, mean of three seeds: {mean}, standard deviation {spread}")


def speed() -> None:
    """Blocks of 5 steps in turn; the ratio of each pair of blocks."""
    config = TextConfig(
        data="democracy", keep_boilerplate=True, steps=10_000, validate_every=10_000
    )
    ours, bare = _ours(config), _bare(config)
    ours(20)
    bare(20)
    pairs = [(ours(5), bare(5)) for _ in range(120)]
    rates = [[5 / seconds for seconds in column] for column in zip(*pairs, strict=True)]
    ratios = sorted(b / a for a, b in pairs)
    print(f"{torch.get_num_threads()} threads")
    for name, rate in zip(("plait train text", "nn.LSTM, bare loop"), rates, strict=True):
        low, high = min(rate), max(rate)
        print(f"{name:>20}: {statistics.median(rate):.2f} steps/s ({low:.2f} … {high:.2f})")
    low, median, high = statistics.quantiles(ratios, n=4)
    print(f"ratio: {median:.3f} (quartiles {low:.3f} … {high:.3f})")


def _ours(config: TextConfig) -> Callable[[int], float]:
    """Plait's own loop, with its log, scores and clipping; a block is timed from inside."""
    torch.manual_seed(0)
    task = TextTask(config, torch.device("cpu"))
    folder = Path(tempfile.mkdtemp()) / "run"
    loop = Loop(task, Run.create(folder, "text", config, task.facts()), Progress())
    loop.progress.announce("", {}, steps=config.steps, rate=1, unit="steps")
    loop.progress.start(0, 0, [])

    def block(steps: int) -> float:
        begin = time.perf_counter()
        for _ in range(steps):
            loop.step()
        return time.perf_counter() - begin

    return block


def _bare(config: TextConfig) -> Callable[[int], float]:
    """The same model as one would write it on nn.LSTM, with nothing but the training."""
    torch.manual_seed(0)
    task = TextTask(config, torch.device("cpu"))
    symbols, H = len(task.vocabulary), config.hidden_size
    embedding = nn.Embedding(symbols, config.embedding_size)
    lstm = nn.LSTM(config.embedding_size, H, config.layers)
    output = nn.Linear(H, symbols)
    parameters = [p for m in (embedding, lstm, output) for p in m.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=config.lr, fused=True)
    zero = torch.zeros(config.layers, config.batch_size, H)
    state, step = (zero, zero), 0

    def block(steps: int) -> float:
        nonlocal state, step
        begin = time.perf_counter()
        for _ in range(steps):
            step += 1
            x, y, _ = task.batches.batch(step)
            optimizer.zero_grad()
            h, state = lstm(embedding(x), state)
            loss = F.cross_entropy(output(h).flatten(0, 1), y.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, config.max_norm)
            optimizer.step()
            state = (state[0].detach(), state[1].detach())
        return time.perf_counter() - begin

    return block


def options(seeds: int, given: dict[str, Any]) -> None:
    """A row an option: `--recipe good` with it alone changed, on validation and on test."""
    print(f"{torch.get_num_threads()} threads, {seeds} seeds; bits per character")
    print(f"| {'option':<32} | validation      | gain over the recipe | test   | seconds |")
    print("|---|---|---|---|---|")
    base: list[float] = []
    for name, changed in OPTIONS.items():
        valid, test, seconds, dynamic = [], [], [], []
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                every = {**given, **changed, "seed": seed}
                run = plait.train("text", recipe="good", out=Path(folder, "run"), **every)
                records = run.records("valid")
                valid.append(min(r["bits_per_character"] for r in records))
                seconds.append(records[-1]["seconds"])
                test.append(run.records("test")[0]["bits_per_character"])
                if not changed:
                    dynamic.append(plait.score(run, dynamic=True))
        base = base or valid
        gain = [b - v for b, v in zip(base, valid, strict=True)]
        print(
            f"| {name:<32} | {_spread(valid, '.4f'):<15} | {_spread(gain, '+.4f'):<20} "
            f"| {statistics.mean(test):.4f} | {statistics.mean(seconds):7.0f} |",
            flush=True,
        )
        for key, label in (
            ("dynamic_bits_per_character", "the recipe, dynamic evaluation"),
            ("ngram_bits_per_character", "n-gram"),
        ):
            if dynamic:
                mean = statistics.mean(scores[key] for scores in dynamic)
                print(f"| {label:<32} | {'':<15} | {'':<20} | {mean:.4f} | {'':<7} |", flush=True)


def minutes(seeds: int, given: dict[str, Any]) -> None:
    """`--minutes`, which chooses width and steps, so that the schedule ends with the time."""
    given.pop("steps", None)
    print(f"{torch.get_num_threads()} threads")
    print(
        "| minutes | width | steps | seconds | validation | test   | n-gram | accuracy, n-gram's |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for wanted in MINUTES:
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                every = {**given, "minutes": wanted, "seed": seed}
                run = plait.train("text", out=Path(folder, "run"), **every)
                records, config = run.records("valid"), run.config
                (test,) = run.records("test")
            best = min(r["bits_per_character"] for r in records)
            print(
                f"| {wanted:>7} | {config['hidden_size']:>5} | {config['steps']:>5} "
                f"| {records[-1]['seconds']:>7.0f} | {best:.4f}     "
                f"| {test['bits_per_character']:.4f} | {test['ngram_bits_per_character']:.4f} "
                f"| {test['accuracy']:.4f}, {test['ngram_accuracy']:.4f}     |",
                flush=True,
            )


def _spread(values: list[float], digits: str) -> str:
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{digits}}{spread}"


def main() -> None:
    if sys.argv[1:] in (["accuracy"], ["speed"]):
        return {"accuracy": accuracy, "speed": speed}[sys.argv[1]]()
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("what", choices=("options", "minutes"))
    parser.add_argument("--data", default="democracy")
    parser.add_argument("--seeds", type=int, default=1)
    known, others = parser.parse_known_args()
    given: dict[str, Any] = {"data": known.data}
    for flag, value in zip(others[::2], others[1::2], strict=True):
        name = flag.removeprefix("--").replace("-", "_")
        given |= {k: v[0] for k, v in read_vary([f"{name}={value}"], "text").items()}
    {"options": options, "minutes": minutes}[known.what](known.seeds, given)


if __name__ == "__main__":
    main()
