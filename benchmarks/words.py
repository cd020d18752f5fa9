"""Words: GCRN's graph of words against the same LSTM without it, each with dropout and without.

    python benchmarks/words.py            the first 20,000 words of ptb's training part, 10 times
    python benchmarks/words.py --words 0 --hidden-size 200 --steps 30000      the paper's size
    python benchmarks/words.py --words 0 --only "LSTM + dropout" …            one network alone
    python benchmarks/words.py --words 0 --minutes 30 --together       equal times; every score
    python benchmarks/words.py --characters --minutes 30     its characters, as in Mikolov et al.

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
    "LSTM": {"dropout": 0.0},
    "LSTM + dropout": {"dropout": DROPOUT},
    "GCRN Model 1": {"word_graph": 4, "dropout": 0.0},
    "GCRN Model 1 + dropout": {"word_graph": 4, "dropout": DROPOUT},
}

CHARACTERS: dict[str, Any] = {"recipe": "good", "hidden_size": 512, "lr": 0.005, "dropout": 0.0}
"""Of the run on characters."""

PUBLISHED_CHARACTERS = {
    "AWD-LSTM (Merity et al. 2018)": 1.175,
    "Mogrifier LSTM (Melis et al. 2020)": 1.120,
    "the same with dynamic evaluation": 1.083,
}
"""Test bits per character."""

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


def as_characters(folder: Path) -> str:
    """Write ptb's lines without the spaces around them, and give the name of the text.

    These are the 5.0, 0.4 and 0.4 million characters of Mikolov et al. (2012), who write a space as
    `_` and put one between all characters.
    """
    parts = read_text("ptb").parts
    assert parts is not None
    (folder / "text").mkdir(parents=True, exist_ok=True)
    for part, text in zip(("train", "valid", "test"), parts, strict=True):
        lines = "".join(f"{line.strip()}\n" for line in text.splitlines())
        (folder / "text" / f"ptb-characters.{part}.txt").write_text(lines)
    os.environ["PLAIT_DATA"] = str(folder)
    return "ptb-characters"


def characters(runs: Path, given: dict[str, Any]) -> None:
    """Train on characters, and print every score next to those published."""
    options = {**CHARACTERS, "data": as_characters(runs / "data"), **given}
    run = finished(runs / "characters", **options)
    scores = plait.score(run, mix=True, cache=True, dynamic=True)
    print("| bits per character on test | |\n|---|---|")
    for kind in ("", "ngram_", "mix_", "cache_", "dynamic_", "rms_", "together_"):
        name = kind.rstrip("_") or "network"
        print(f"| {name} | {scores[f'{kind}bits_per_character']:.4f} |")
    for name, bits in PUBLISHED_CHARACTERS.items():
        print(f"| {name} | {bits:.3f} |")


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
    parser.add_argument("--characters", action="store_true")
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--only", choices=VARIANTS)
    parser.add_argument("--runs", type=Path, default=Path("runs/words"))
    parser.add_argument("--words", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    options, others = parser.parse_known_args()
    flags = [
        f"{f[2:].replace('-', '_')}={v}" for f, v in zip(others[::2], others[1::2], strict=True)
    ]
    given = {name: value for name, (value,) in read_vary(flags, "text").items()}
    if options.characters:
        return characters(options.runs, given)
    chosen = {name: v for name, v in VARIANTS.items() if options.only in (None, name)}
    settings = dict(SETTINGS)
    if "minutes" in given:  # it chooses the rest
        settings = {k: settings[k] for k in ("units", "vocabulary", "threads", "device")}
    if "hidden_size" in given:
        given.setdefault("embedding_size", given["hidden_size"])
    data = first_words(options.words, options.runs / "data") if options.words else "ptb"
    runs = {
        (name, seed): finished(
            options.runs / f"{name.lower().replace(' + ', '-').replace(' ', '-')}-{seed}",
            **{"data": data, "seed": seed, **settings, **given, **variant},
        )
        for seed in range(options.seeds)
        for name, variant in chosen.items()
    }
    rows = [row(name, [runs[name, seed] for seed in range(options.seeds)]) for name in chosen]
    (test,) = runs[next(iter(chosen)), 0].records("test")
    print("| network | train | validation | test | best epoch | filter | test, published |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    for (name, seed), run in runs.items() if options.together else ():
        scores = plait.score(run, mix=True, cache=True, dynamic=True)
        found = {k: round(v, 2) for k, v in scores.items() if k.endswith("perplexity")}
        print(f"{name}, seed {seed}: {found}")
    print(f"an interpolated {test['ngram_order']}-gram: {test['ngram_perplexity']:.2f} on test, of "
          f"which {test['unknown_share']:.1%} is <unk> (5.8% in all of ptb)")  # fmt: skip


if __name__ == "__main__":
    main()
