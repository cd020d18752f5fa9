"""What every task promises, checked: `plait.testing.check_task`."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plait.nn.graph import Graph
from plait.tasks import config_class, task_class
from plait.training.checkpoint import load_tensors
from plait.training.loop import train
from plait.training.progress import Progress
from plait.training.random import seed_all
from plait.training.run import Run
from plait.training.task import Task

CPU = torch.device("cpu")


def check_task(name: str, *, spoil: Callable[[Any], None], steps: int = 4, **options: Any) -> None:
    """Check the promises of a task, on the data and at the sizes that its options give.

    1. A batch is a function of the seed and of the step: whatever was drawn before, it is the same.
    2. Scores are the same each time they are asked for.
    3. Training that is stopped and resumed ends, bit for bit, where training without a stop does.
    4. Nothing of the test set is read in training: with that part spoilt, weights and validation
       scores are the same.

    Parameters
    ----------
    name : str
        The task, one of `plait.tasks.TASKS`.
    spoil : callable
        Takes a task whose data has been read, and changes its test set in place, or makes a use of
        it fail.
    steps : int
        Updates, 3 or more; training is stopped in the middle.
    **options
        The task's options, as of `plait.train`; small sizes make a fast check.

    Raises
    ------
    AssertionError
        Naming the promise that is not kept.

    Example
    -------
    >>> from plait.testing import check_task
    >>> def spoil(task):
    ...     task.labels[task.splits.test] = 0
    >>> check_task("nodes", spoil=spoil, data="karate", hidden_size=4)
    """
    own = {"steps": steps, "validate_every": 1, "save_every": 0.0, "threads": 1}
    known = {f.name for f in fields(config_class(name))}
    config = config_class(name).of({**{k: v for k, v in own.items() if k in known}, **options})
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        _check_batches(name, config)
        task, whole = _trained(name, config, Path(folder) / "whole")
        with torch.no_grad():
            for scores in ("validate", "own_scores"):
                first, second = (getattr(task, scores)() for _ in range(2))
                _require(_same(first, second), f"{scores}: twice the same scores")
        _, resumed = _trained(name, config, Path(folder) / "resumed", stop_at=(steps + 1) // 2)
        _require(_same(_left(whole), _left(resumed)), "a resumed run ends as one without a stop")
        _, blind = _trained(name, config, Path(folder) / "blind", spoil=spoil)
        _require(_same(_left(whole), _left(blind)), "training reads nothing of the part to test on")


class _StoppedError(Exception):
    """Training is to end here, as if the process had."""


class _StopAt(Progress):
    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, step: int, record: Mapping[str, float]) -> None:
        if step == self.at:
            raise _StoppedError


def _made(name: str, config: Any, known: Mapping[str, Any] | None = None) -> Task:
    seed_all(config.seed, 0)
    return task_class(name)(config, CPU, known)


def _check_batches(name: str, config: Any) -> None:
    task, other = _made(name, config), _made(name, config)
    seed_all(config.seed, 7)
    first, second = _copied(task.batch(1)), _copied(task.batch(2))
    torch.rand(3)
    _require(_same(second, other.batch(2)), "batch(2) is the same where batch(1) was not drawn")
    _require(_same(first, other.batch(1)), "batch(1) is the same after batch(2)")


def _trained(
    name: str, config: Any, path: Path, *, stop_at: int = 0, spoil: Any = None
) -> tuple[Task, Run]:
    """Train to the last validation, without the test; stop and resume on the way if asked to."""
    task = _made(name, config)
    if spoil is not None:
        spoil(task)
    run = Run.create(path, name, config, task.facts())
    if stop_at:
        try:
            _train_untested(task, run, _StopAt(stop_at))
        except _StoppedError:
            task = _made(name, config, run.facts)
            _train_untested(task, run, Progress(), resume=True)
    else:
        _train_untested(task, run, Progress())
    return task, run


def _train_untested(task: Task, run: Run, progress: Progress, *, resume: bool = False) -> None:
    untested: Any = task
    untested.test = lambda: {"untested": 0.0}
    untested.interpret = lambda scores: ""
    untested.draw = lambda records, path: None
    train(task, run, progress, resume=resume)


def _left(run: Run) -> tuple[Any, ...]:
    """Return what training leaves: weights, the last checkpoint, the log without its times."""
    records = [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()]
    return load_tensors(run.model_path)[0], run.load_checkpoint()[0], records


def _require(kept: bool, promise: str) -> None:
    if not kept:
        raise AssertionError(f"not so: {promise}")


def _same(a: Any, b: Any) -> bool:
    ours, theirs = list(_leaves(a)), list(_leaves(b))
    return len(ours) == len(theirs) and all(map(_equal, ours, theirs))


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        numbers = a.dtype.kind in "fc"
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=numbers)
    return type(a) is type(b) and (a == b or (a != a and b != b))


def _copied(value: Any) -> list[Any]:
    return [leaf.copy() if isinstance(leaf, np.ndarray) else leaf for leaf in _leaves(value)]


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the numbers, texts and arrays that a value consists of."""
    if isinstance(value, Tensor):
        dense = value.detach().to_dense() if value.layout != torch.strided else value.detach()
        yield dense.cpu().numpy()
    elif isinstance(value, Graph):
        yield from _leaves((value.num_nodes, value.edge_index, value.edge_weight))
    elif isinstance(value, Mapping):
        for key in value:
            yield key
            yield from _leaves(value[key])
    elif is_dataclass(value) and not isinstance(value, type):
        for f in fields(value):
            yield from _leaves(getattr(value, f.name))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from _leaves(part)
    else:
        yield value
