"""A whole study at the smallest sizes, made once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plait import figures
from plait.study import make_study, sizes
from plait.study.sections import sequences_over_graphs
from plait.training.progress import Progress

PROSE = "Once upon a time a king had a son, and the king said: go into the forest. " * 80

TINY_MEMORY = {
    "options": {"steps": 4, "eval_lengths": "8", "hidden_size": 4, "batch_size": 8},
    "lengths": (4,),
    "seeds": (0, 1),
}
TINY_TEXT = {
    "options": {"steps": 6, "hidden_size": 8, "embedding_size": 8, "length": 10, "batch_size": 4},
    "seeds": (0,),
    "texts": 3,
    "length": 60,
}
TINY = {
    "gradients": {
        "options": {"length": 6, "hidden_size": 4, "batch_size": 8, "steps": 3}, "seeds": (0, 1),
    },
    "gates": {"memory": TINY_MEMORY, "text": TINY_TEXT},
    "memory": TINY_MEMORY,
    "text": TINY_TEXT,
    "fairy_tales": TINY_TEXT,
    "graphs": {"options": {"hidden_size": 8, "heads": 2, "steps": 3}, "nodes": (10, 20_000),
               "seeds": (0,)},
    "applications": {
        "large": False, "seeds": (0,), "communities": {"steps": 3, "hidden_size": 8},
        "connections": {"steps": 3, "hidden_size": 8},
        "relations": {"scenes": 6, "steps": 2, "hidden_size": 8},
    },
    "structure": {
        "options": {"steps": 2, "hidden_size": 8, "batch_size": 4}, "neighbours": {"nodes": 12},
        "order": {"nodes": 13}, "near": {"nodes": 12}, "seeds": (0,), "layers": (1, 2),
        "large": False,
        "stacked": {"length": 4, "hidden_size": 4, "batch_size": 8, "steps": 2},
        "layered": {"steps": 2, "hidden_size": 8},
    },
    "sequences_over_graphs": {
        "waves": {
            "steps": 2, "hidden_size": 4, "batch_size": 4, "test": 0.01, "validation": 0.01,
            "history": 4, "horizon": 2,
        },
        "cells": ("gru",), "wave_seeds": (0,),
        "speeds": {},
        "digits": {"frame": 16, "hidden_size": 4, "layers": 1, "steps": 2, "history": 2,
                   "horizon": 1},
        "words": {"layers": 1, "length": 5, "batch_size": 4, "hidden_size": 4,
                  "embedding_size": 4, "vocabulary": 10, "steps": 2},
        "word_seeds": (0,), "visits": {"patients": 40, "steps": 2, "hidden_size": 8},
        "seeds": (0,), "large": False,
    },
}  # fmt: skip


class Messages(Progress):
    """Keeps every notice."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def notice(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def messages() -> Messages:
    """Receives the notices of a study."""
    return Messages()


@contextmanager
def shrunk(data: Path) -> Iterator[None]:
    """Small sizes, texts, pictures and parts to test on; no learning curves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_DATA", str(data))
        patch.setitem(figures.STYLE, "savefig.dpi", 25)
        patch.setattr(sizes, "QUICK", TINY)
        patch.setattr(
            sequences_over_graphs, "OPERATORS", {"dense": "dense", "chebyshev": "Chebyshev"}
        )
        patch.setattr("plait.tasks.memory.scores.TEST_BATCHES", 1)
        patch.setattr("plait.tasks.structure.task.VALIDATION_BATCHES", 1)
        patch.setattr("plait.tasks.structure.task.TEST_BATCHES", 1)
        patch.setattr("plait.figures.draw_curves", lambda *_, **__: None)
        yield


@pytest.fixture(scope="session")
def texts(tmp_path_factory) -> Path:
    """A folder with small texts of the report's names."""
    data = tmp_path_factory.mktemp("data")
    (data / "text").mkdir()
    for name in ("democracy", "grimm"):
        (data / "text" / f"{name}.txt").write_text(PROSE)
    return data


@pytest.fixture
def small(texts) -> Iterator[Path]:
    """The small texts, and everything as small, while a test runs."""
    with shrunk(texts):
        yield texts


@pytest.fixture(scope="session")
def study(texts, tmp_path_factory) -> Path:
    """The folder of a study of every section."""
    folder = tmp_path_factory.mktemp("studies") / "study"
    with shrunk(texts):
        assert make_study(quick=True, out=folder, threads=1) == folder / "index.html"
    return folder
