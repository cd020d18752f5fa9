"""The report's text model: what it reaches, and its speed beside torch.nn.

    python benchmarks/text.py accuracy    training accuracy under both protocols, three seeds
    python benchmarks/text.py speed       steps a second beside nn.LSTM in a bare loop

Both need the text `democracy` under $PLAIT_DATA.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import plait
from plait.tasks.text.config import TextConfig
from plait.tasks.text.task import TextTask
from plait.training.loop import Loop
from plait.training.progress import Progress
from plait.training.run import Run

REPORTED = (0.590, 0.598, 0.619)


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
            x, y, _ = task.reader.batch(step)
            optimizer.zero_grad()
            h, state = lstm(embedding(x), state)
            loss = F.cross_entropy(output(h).flatten(0, 1), y.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, config.max_norm)
            optimizer.step()
            state = (state[0].detach(), state[1].detach())
        return time.perf_counter() - begin

    return block


if __name__ == "__main__":
    commands = {"accuracy": accuracy, "speed": speed}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]]()
