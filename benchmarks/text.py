"""The text task: what it reaches, what its options gain, and its speed against torch.nn.

    python benchmarks/text.py accuracy    training accuracy under both protocols, three seeds
    python benchmarks/text.py speed       steps per second against nn.LSTM in a bare loop
    python benchmarks/text.py options     what each option pays on held-out text
    python benchmarks/text.py minutes     held-out scores after 1, 3 and 10 minutes of training
    python benchmarks/text.py samplers --run RUN [--judge OTHER]     what each way of drawing writes

The first four need the text `democracy` under $PLAIT_DATA. `options` and `minutes` take --data,
--seeds (their number) and any other option of the text task, for all of their runs: --steps 20
--hidden-size 16; `minutes` also --minutes, such as --minutes 1 3 10. `options` with --minutes 0.5
gives each option the same time, in place of as many steps; its --only takes names of options.
"""

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import plait
from plait.comparison.grid import read_vary
from plait.tasks.text.baselines import choose_ngram
from plait.tasks.text.config import TextConfig
from plait.tasks.text.inference import splits_of
from plait.tasks.text.repetition import repeated_share
from plait.tasks.text.scores import score_stream
from plait.tasks.text.structure import structure_of
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
    "GRU": {"cell": "gru"},
    "LSTM with coupled gates": {"cell": "lstm-coupled"},
    "LSTM with layer normalisation": {"cell": "lstm-layer-norm"},
    "minGRU": {"cell": "min-gru"},
    "minGRU, 3 layers of 512": {"cell": "min-gru", "layers": 3, "hidden_size": 512, "lr": 0.004},
    "RNN, 3 layers of 512": {"cell": "rnn", "layers": 3, "hidden_size": 512, "lr": 0.002},
}
"""Each changes the recipe by itself."""

SAMPLERS: dict[str, dict[str, Any]] = {
    "β = 1": {},
    "β = 1.5": {"beta": 1.5},
    "β = 2": {"beta": 2},
    "greedy": {"greedy": True},
    "top-p 0.9": {"top_p": 0.9},
    "min-p 0.1": {"min_p": 0.1},
    "typical-p 0.9": {"typical_p": 0.9},
    "mirostat 1.5 bits": {"mirostat": 1.5},
    "β = 2, no-repeat 12": {"beta": 2, "no_repeat": 12},
    "greedy, no-repeat 12": {"greedy": True, "no_repeat": 12},
    "penalty 1.1": {"repetition_penalty": 1.1},
    "greedy, penalty 1.1": {"greedy": True, "repetition_penalty": 1.1},
    "contrastive 0.3 of 4": {"alpha": 0.3},
    "contrastive 0.6 of 4": {"alpha": 0.6},
}
"""Ways of drawing; `alpha` is that of contrastive search."""

TEXTS, LENGTH = 8, 1000
"""Texts of each, and their symbols."""

MINUTES = (1.0, 3.0, 10.0)


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


def options(seeds: int, given: dict[str, Any], names: Sequence[str]) -> None:
    """A row an option: `--recipe good` with it alone changed, on validation and on test."""
    print(f"{torch.get_num_threads()} threads, {seeds} seeds; bits per character")
    print(f"| {'option':<32} | validation      | gain over the recipe | test   | steps | seconds |")
    print("|---|---|---|---|---|---|")
    base: list[float] = []
    for name in names:
        changed = OPTIONS[name]
        valid, test, steps, seconds, dynamic = [], [], [], [], []
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                every = {**given, **changed, "seed": seed}
                run = plait.train("text", recipe="good", out=Path(folder, "run"), **every)
                records = run.records("valid")
                valid.append(min(r["bits_per_character"] for r in records))
                steps.append(records[-1]["step"])
                seconds.append(records[-1]["seconds"])
                test.append(run.records("test")[0]["bits_per_character"])
                if not changed:
                    dynamic.append(plait.score(run, dynamic=True))
        base = base or valid
        gain = [b - v for b, v in zip(base, valid, strict=True)]
        print(
            f"| {name:<32} | {_spread(valid, '.4f'):<15} | {_spread(gain, '+.4f'):<20} "
            f"| {statistics.mean(test):.4f} | {statistics.mean(steps):5.0f} "
            f"| {statistics.mean(seconds):7.0f} |",
            flush=True,
        )
        for key, label in (
            ("dynamic_bits_per_character", "the recipe, dynamic evaluation"),
            ("ngram_bits_per_character", "n-gram"),
        ):
            if dynamic:
                mean = statistics.mean(scores[key] for scores in dynamic)
                print(
                    f"| {label:<32} | {'':<15} | {'':<20} | {mean:.4f} | {'':<5} | {'':<7} |",
                    flush=True,
                )


class Watch(Progress):
    """When what was announced began, by its first word."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    def working(self, text: str) -> None:
        self.times.setdefault(text.split()[0], time.perf_counter())


def minutes(seeds: int, given: dict[str, Any], wanted: Sequence[float] = MINUTES) -> None:
    """`--minutes`, which chooses width and steps, so that the schedule ends with the time.

    Seconds are those from the beginning of the measuring to that of the test.
    """
    given.pop("steps", None)
    print(f"{torch.get_num_threads()} threads; bits per character on the test part, but validation")
    print(
        "| minutes | width | dropout | products | steps | seconds | of it | validation | network "
        "| n-gram | mixed | cache | RMS dynamic | together |"
    )
    print("|" + "---|" * 14)
    began = time.perf_counter()
    for each in wanted:
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                every = {**given, "minutes": each, "seed": seed}
                watch = Watch()
                run = plait.train("text", out=Path(folder, "run"), progress=watch, **every)
                records, config = run.records("valid"), run.config
                scores = plait.score(run, mix=True, cache=True, dynamic=True)
            seconds = watch.times["scoring"] - watch.times["measuring"]
            best = min(r["bits_per_character"] for r in records)
            kinds = ("", "ngram_", "mix_", "cache_", "rms_", "together_")
            found = " | ".join(f"{scores[f'{kind}bits_per_character']:.4f}" for kind in kinds)
            print(
                f"| {each:>7} | {config['hidden_size']:>5} | {config['dropout']:>7} "
                f"| {config['precision']:>8} | {config['steps']:>5} "
                f"| {seconds:>7.1f} | {seconds / each / 60:.1%} | {best:.4f} | {found} |",
                flush=True,
            )
    print(f"{time.perf_counter() - began:.0f} seconds in all, with scoring")


def samplers(path: Path, judge: Path | None) -> None:
    """What each way of drawing writes, next to as much held-out text.

    Bits are those of the n-gram of the training text, and of another run on the same text.
    """
    run = Run.open(path)
    model, config = plait.load(run), TextConfig.from_dict(run.config)
    splits = splits_of(model, config, run.facts)
    ngram = choose_ngram(splits.train, splits.valid, model.vocabulary)
    other = None if judge is None else plait.load(judge)
    symbols = range(0, len(model.vocabulary), -(-len(model.vocabulary) // TEXTS))
    prompts = [model.vocabulary.decode([n]) for n in symbols]  # of what is not drawn
    texts: dict[str, list[str]] = {}
    seconds: dict[str, float] = {}
    for name, options in SAMPLERS.items():
        began = time.perf_counter()
        if "alpha" in options:
            texts[name] = [model.contrastive_search(p, LENGTH, **options)[1:] for p in prompts]
        elif options.get("greedy"):
            texts[name] = [model.generate(p, LENGTH, **options)[1:] for p in prompts]
        else:
            texts[name] = model.generate("", LENGTH, count=TEXTS, **options)
        seconds[name] = time.perf_counter() - began
    begins = [(len(splits.test) - LENGTH) * k // (TEXTS - 1) for k in range(TEXTS)]
    decode = model.vocabulary.decode
    texts["held-out text"] = [decode(splits.test[b : b + LENGTH].tolist()) for b in begins]
    print(f"{path}: {TEXTS} texts of {LENGTH} symbols each")
    print(f"| {'drawn by':<22} | repeated | n-gram | judge | brackets | quotes | names | seconds |")
    print("|" + "---|" * 8)
    for name, several in texts.items():
        numbers = [torch.from_numpy(model.vocabulary.encode(text)) for text in several]
        bits = [-np.log2(ngram.probability(n.numpy())[0][1:]).mean() for n in numbers]
        judged = [score_stream(other, n)["bits_per_character"] for n in numbers] if other else []
        found = structure_of(several)
        print(
            f"| {name:<22} | {statistics.fmean(map(repeated_share, several)):.1%} "
            f"| {statistics.fmean(bits):.3f} "
            f"| {f'{statistics.fmean(judged):.3f}' if judged else '-'} "
            f"| {found.brackets} | {found.quotes} "
            f"| {'none' if math.isnan(found.names) else f'{found.names:.0%}'} "
            f"| {seconds.get(name, 0):.1f} |",
            flush=True,
        )


def _spread(values: list[float], digits: str) -> str:
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{digits}}{spread}"


def main() -> None:
    if sys.argv[1:] in (["accuracy"], ["speed"]):
        return {"accuracy": accuracy, "speed": speed}[sys.argv[1]]()
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("what", choices=("options", "minutes", "samplers"))
    parser.add_argument("--run", type=Path)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--minutes", type=float, nargs="+")
    parser.add_argument("--data", default="democracy")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    known, others = parser.parse_known_args()
    if known.what == "samplers":
        return samplers(known.run, known.judge)
    given: dict[str, Any] = {"data": known.data}
    for flag, value in zip(others[::2], others[1::2], strict=True):
        name = flag.removeprefix("--").replace("-", "_")
        given |= {k: v[0] for k, v in read_vary([f"{name}={value}"], "text").items()}
    if known.what == "minutes":
        return minutes(known.seeds, given, known.minutes or MINUTES)
    if known.minutes:
        given["minutes"] = known.minutes[0]
    return options(known.seeds, given, known.only)


if __name__ == "__main__":
    main()
