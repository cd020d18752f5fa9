"""Words: GCRN's graph of words against the same LSTM without it, each with dropout and without.

    python benchmarks/words.py            the first 20,000 words of ptb's training part, 10 times
    python benchmarks/words.py --words 0 --hidden-size 200 --steps 30000      the paper's size

Batches of 20 × 20 words, a vocabulary of 10,000, 4 neighbours and 3 terms, as in Seo et al. (2016).
Weights are chosen on the validation part; the test part is scored once. Any other option of the
text task may be given, for all runs of --seeds (default: 3). Runs are kept in --runs (default:
runs/words) and not made again where they are. Needs the Penn Treebank under $PLAIT_DATA:
text/ptb.{train,valid,test}.txt.
"""

import argparse
import os
import statistics
from pathlib import Path
from typing import Any

import torch

import plait
from plait.comparison.grid import read_vary
from plait.data import read_text
from plait.tasks.text.config import TextConfig
from plait.tasks.text.scores import score_stream
from plait.tasks.text.task import TextTask
from plait.training.progress import PlainProgress
from plait.training.run import Run

SETTINGS: dict[str, Any] = {
    "units": "words", "vocabulary": 10_000, "cell": "lstm-peephole", "layers": 1, "length": 20,
    "batch_size": 20, "hidden_size": 100, "embedding_size": 100, "steps": 500, "lr": 0.005,
    "schedule": "cosine", "warmup": 50, "validate_every": 100, "threads": 1, "device": "cpu",
}  # fmt: skip

DROPOUT = 0.3

VARIANTS: dict[str, dict[str, Any]] = {
    "LSTM": {},
    "LSTM + dropout": {"dropout": DROPOUT},
    "GCRN Model 1": {"word_graph": 4},
    "GCRN Model 1 + dropout": {"word_graph": 4, "dropout": DROPOUT},
}

PUBLISHED = {"LSTM": 120.16, "LSTM + dropout": 112.98, "GCRN Model 1 + dropout": 98.67}
"""Test perplexity, Seo et al. (2016)."""

SAMPLE = 20_000
"""Words of the training part on which its perplexity is measured."""


def first_words(count: int, folder: Path) -> str:
    """Write ptb with so many words to train on under another data folder, and give its name."""
    parts = read_text("ptb").parts
    assert parts is not None
    lines, words = [], 0
    for line in parts[0].splitlines(keepends=True):
        if words >= count:
            break
        lines.append(line)
        words += len(line.split()) + 1  # and the line's end
    (folder / "text").mkdir(parents=True, exist_ok=True)
    for part, text in zip(("train", "valid", "test"), ("".join(lines), *parts[1:]), strict=True):
        (folder / "text" / f"ptb-{count}.{part}.txt").write_text(text)
    os.environ["PLAIT_DATA"] = str(folder)
    return f"ptb-{count}"


def row(name: str, runs: list[Run]) -> str:
    """Train, validation and test perplexity, the best epoch and the filter: means over seeds."""
    found = [measured(run) for run in runs]
    cells = [
        mean_and_spread([f[score] for f in found]) for score in ("train", "valid", "test", "epoch")
    ]
    terms = zip(*(f["filter"] for f in found), strict=True)
    published = f"{PUBLISHED[name]:.2f}" if name in PUBLISHED else ""
    cells = [name, *cells, ", ".join(mean_and_spread(list(t)) for t in terms), published]
    return f"| {' | '.join(cells)} |"


def measured(run: Run) -> dict[str, Any]:
    config = TextConfig.from_dict(run.config)
    task = TextTask(config, torch.device("cpu"))
    model = plait.load(run)
    (test,) = run.records("test")
    return {
        "train": score_stream(model, task.training[:SAMPLE])["perplexity"],
        "valid": min(r["perplexity"] for r in run.records("valid")),
        "test": test["perplexity"],
        "epoch": test["best_step"] * config.length * config.batch_size / len(task.training),
        "filter": [] if model.filter is None else model.filter.weights["weight"].flatten().tolist(),
    }


def mean_and_spread(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def finished(path: Path, **options: Any) -> Run:
    """Train, go on, or take the run that is there."""
    if not path.exists():
        return plait.train("text", out=path, progress=PlainProgress(), **options)
    return Run.open(path) if Run.open(path).records("test") else plait.resume(path, PlainProgress())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/words"))
    parser.add_argument("--words", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    options, others = parser.parse_known_args()
    flags = [
        f"{f[2:].replace('-', '_')}={v}" for f, v in zip(others[::2], others[1::2], strict=True)
    ]
    given = {name: value for name, (value,) in read_vary(flags, "text").items()}
    if "hidden_size" in given:
        given.setdefault("embedding_size", given["hidden_size"])
    data = first_words(options.words, options.runs / "data") if options.words else "ptb"
    runs = {
        (name, seed): finished(
            options.runs / f"{name.lower().replace(' + ', '-').replace(' ', '-')}-{seed}",
            **{"data": data, "seed": seed, **SETTINGS, **given, **variant},
        )
        for seed in range(options.seeds)
        for name, variant in VARIANTS.items()
    }
    rows = [row(name, [runs[name, seed] for seed in range(options.seeds)]) for name in VARIANTS]
    (test,) = runs["LSTM", 0].records("test")
    print("| network | train | validation | test | best epoch | filter | test, published |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    print(f"an interpolated {test['ngram_order']}-gram: {test['ngram_perplexity']:.2f} on test, of "
          f"which {test['unknown_share']:.1%} is <unk> (5.8% in all of ptb)")  # fmt: skip


if __name__ == "__main__":
    main()
