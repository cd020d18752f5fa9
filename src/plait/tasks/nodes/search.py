"""Which network suits a graph: by linear models, or by short trainings of a few kinds."""

import copy
import math
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from plait.news import LOGGER
from plait.training.budget import measure
from plait.training.followed import create_run
from plait.training.loop import Loop
from plait.training.progress import Progress
from plait.training.random import seed_all
from plait.training.signals import stop_signals

if TYPE_CHECKING:
    from plait.tasks.nodes.task import NodesTask

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


def usual_options(task: "NodesTask", fixed: Collection[str]) -> Mapping[str, Any]:
    """Return `OWN_WAY` where averages over neighbours do no better than a node's own features.

    Both by linear models, on the validation nodes. Options that were given, `fixed`, are kept.
    """
    own, valid, labels = task.own_and_averaged, task.splits.valid, task.network.labels
    if own is None or not len(valid) or any(name in fixed for name in OWN_WAY):
        return {}
    alone, averaged = (int((z[valid].argmax(1) == labels[valid]).sum()) for z in own)
    return OWN_WAY if alone >= averaged else {}


def best_options(task: "NodesTask", seconds: float, fixed: Collection[str]) -> dict[str, Any]:
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
        loss = _validation_loss(_with_options(task, options), left)
        named = ", ".join(f"{name} {value}" for name, value in options.items()) or "as configured"
        LOGGER.info("tried %s: validation loss %.4g", named, loss)
        if loss < best:
            best, chosen = loss, dict(options)
    return chosen


def _with_options(task: "NodesTask", options: Mapping[str, Any]) -> "NodesTask":
    """Return a task of the same data with a new model of other options."""
    other = copy.copy(task)
    other.config = replace(task.config, **options)
    with torch.random.fork_rng(devices=[]):
        seed_all(other.config.seed, 0)
        other.model = other.make_model().to(task.device)
    return other


def _validation_loss(task: "NodesTask", seconds: float) -> float:
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
        loop = Loop(task, run, Progress())
        loop.progress.start(0, 0.0, [])
        loop.learn(stop)
        return loop.now.best


def _every(task: "NodesTask") -> int:
    return task.config.validate_every or max(1, task.config.steps // 10)
