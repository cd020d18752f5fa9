"""Which network suits a graph: by linear models, or by short trainings of a few kinds."""

import copy
import math
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from plait.errors import InputError
from plait.news import LOGGER
from plait.training.budget import measure
from plait.training.followed import create_run
from plait.training.learning import Learning
from plait.training.progress import Progress
from plait.training.random import seed_all
from plait.training.signals import stop_signals

OWN_WAY: Mapping[str, Any] = {"skip": "linear", "norm": "layer", "readout": "linear", "lr": 0.003}
"""Options for graphs on which neighbours are unlike: a node's own features have a way of their own,
past its neighbours."""

CANDIDATES: tuple[Mapping[str, Any], ...] = (
    {},
    OWN_WAY,
    {"consistency": 1.0, "node_dropout": 0.5, "penalty_on": "all"},
    {"operator": "sage", "hidden_size": 128, "dropout": 0.3, "lr": 0.003},
    {"skip": "gcnii", "layers": 8, "readout": "linear", "penalty_on": "all"},
    {"hidden_size": 256, "dropout": 0.7, "penalty_on": "all"},
)
"""Options that are tried on top of the configuration, in this order while there is time."""

TIMED = 0.05
"""Share of a candidate's time in which its steps are timed."""

FEWEST = 20
"""Steps without which a candidate is not tried."""


def usual_options(task: Any, fixed: Collection[str]) -> Mapping[str, Any]:
    """Return `OWN_WAY` where averages over neighbours do no better than a node's own features.

    `task` is a NodesTask. Both are linear models, on the validation nodes. Options that were given,
    `fixed`, are kept.
    """
    own, valid, labels = task.own_and_averaged, task.splits.valid, task.network.labels
    if own is None or not len(valid) or any(name in fixed for name in OWN_WAY):
        return {}
    alone, averaged = (int((z[valid].argmax(1) == labels[valid]).sum()) for z in own)
    return OWN_WAY if alone >= averaged else {}


def best_options(task: Any, seconds: float, fixed: Collection[str]) -> dict[str, Any]:
    """Return the candidate of the least validation loss, trained within so many seconds in all.

    Each candidate has an equal share of the time that is left; what it does not need is left to
    those after it. Options that were given, `fixed`, are kept: candidates with others of them are
    not tried. None is where there are no validation nodes, and where several processes train, whose
    clocks differ.
    """
    if not len(task.splits.valid) or task.ranks.count > 1:
        return {}
    candidates = [c for c in CANDIDATES if not any(name in fixed for name in c)]
    if len(candidates) < 2:
        return {}
    end, best, chosen = time.monotonic() + seconds, math.inf, {}
    for number, options in enumerate(candidates):
        left = (end - time.monotonic()) / (len(candidates) - number)
        if left <= 0:
            break
        try:
            trial = _with_options(task, options)
        except InputError:  # what was given does not go with it, such as an operator
            continue
        loss = _validation_loss(trial, left)
        named = ", ".join(f"{name} {value}" for name, value in options.items()) or "as configured"
        LOGGER.info("tried %s: validation loss %.4g", named, loss)
        if loss < best:
            best, chosen = loss, dict(options)
    return chosen


def _with_options(task: Any, options: Mapping[str, Any]) -> Any:
    """Return a task of the same data with a new model of other options."""
    other = copy.copy(task)
    other.config = replace(task.config, **options)
    with torch.random.fork_rng(devices=[]):
        seed_all(other.config.seed, 0)
        other.model = other.make_model().to(task.device)
    return other


def _validation_loss(task: Any, seconds: float) -> float:
    """Train for about so many seconds, and return the least validation loss."""
    pace = measure(task, TIMED * seconds)
    steps = int((seconds - pace.measuring) / (pace.step + pace.validation / _every(task)))
    if steps < FEWEST:
        return math.inf
    task.config = replace(task.config, steps=min(steps, task.config.steps), minutes=0.0)
    with (
        torch.random.fork_rng(devices=[]), stop_signals() as stop,
        tempfile.TemporaryDirectory() as folder,
    ):  # fmt: skip
        run = create_run(Path(folder) / "run", task.name, task.config, task.facts())
        learning = Learning(task, run, Progress())
        learning.progress.start(0, 0.0, [])
        learning.learn(stop)
        return learning.now.best


def _every(task: Any) -> int:
    return task.config.validate_every or max(1, task.config.steps // 10)
