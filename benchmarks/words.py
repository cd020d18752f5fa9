"""Words: GCRN's graph of words beside the same LSTM without it, each with dropout and without.

    python benchmarks/words.py                      the first 60,000 words of ptb's training part
    python benchmarks/words.py --words 0            all of it; --hidden-size 200 is the paper's size

Batches of 20 × 20 words, a vocabulary of 10,000, 4 neighbours and 3 terms, as in Seo et al. (2016).
Weights are chosen on the validation part; the test part is scored once. Any other option of the
text task may be given, for all four runs. Runs are kept in --runs (default: runs/words) and not
made again where they are. Needs the Penn Treebank: text/ptb.{train,valid,test}.txt of $PLAIT_DATA.
"""

import argparse
import os
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
    "batch_size": 20, "hidden_size": 100, "embedding_size": 100, "steps": 600, "lr": 0.005,
    "schedule": "cosine", "warmup": 50, "validate_every": 200, "threads": 1, "device": "cpu",
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


def row(name: str, run: Run) -> str:
    """Train, validation and test perplexity, and the filter's terms."""
    config = TextConfig.from_dict(run.config)
    task = TextTask(config, torch.device("cpu"))
    model = plait.load(run)
    (test,) = run.records("test")
    valid = min(r["perplexity"] for r in run.records("valid"))
    train = score_stream(model, task.training[:SAMPLE])["perplexity"]
    terms = "" if model.filter is None else str(
        [round(w, 3) for w in model.filter.weights["weight"].flatten().tolist()]
    )  # fmt: skip
    cells = [f"{v:.2f}" for v in (train, valid, test["perplexity"])]
    published = f"{PUBLISHED[name]:.2f}" if name in PUBLISHED else ""
    epochs = test["best_step"] / len(task.training) * config.length * config.batch_size
    return "| " + " | ".join([name, *cells, f"{epochs:.1f}", terms, published]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/words"))
    parser.add_argument("--words", type=int, default=60_000)
    options, others = parser.parse_known_args()
    flags = [
        f"{f[2:].replace('-', '_')}={v}" for f, v in zip(others[::2], others[1::2], strict=True)
    ]
    given = {name: value for name, (value,) in read_vary(flags, "text").items()}
    if "hidden_size" in given:
        given.setdefault("embedding_size", given["hidden_size"])
    data = first_words(options.words, options.runs / "data") if options.words else "ptb"
    rows: list[str] = []
    for name, variant in VARIANTS.items():
        path = options.runs / name.lower().replace(" + ", "-").replace(" ", "-")
        if path.exists() and not Run.open(path).records("test"):
            run = plait.resume(path, PlainProgress())
        elif path.exists():
            run = Run.open(path)
        else:
            run = plait.train(
                "text", out=path, data=data, progress=PlainProgress(),
                **{**SETTINGS, **given, **variant},
            )  # fmt: skip
        rows.append(row(name, run))
    (test,) = run.records("test")
    print("| network | train | validation | test | epochs | filter | test, published |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    print(f"an interpolated {test['ngram_order']}-gram: {test['ngram_perplexity']:.2f} on test, of "
          f"which {test['unknown_share']:.1%} is <unk> (5.8% in all of ptb)")  # fmt: skip


if __name__ == "__main__":
    main()
