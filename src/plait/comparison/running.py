"""Train the runs of a grid, one after another or in parallel processes."""

import multiprocessing
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from plait.api import resume, train
from plait.comparison.cluster import make_on_cluster
from plait.comparison.grid import Grid, PlannedRun
from plait.errors import InputError
from plait.training.run import Run
from plait.training.signals import Interrupted, stop_signals

Notice = Callable[[str], None]
STOPPED = "stopped, every run saved; the same command continues"


def finished(plan: PlannedRun) -> bool:
    """Return whether a run is complete, its test included."""
    try:
        return (plan.path / "config.json").exists() and bool(Run.open(plan.path).records("test"))
    except InputError:  # damaged: resuming it raises the error
        return False


def make_runs(grid: Grid, jobs: int, notice: Notice, ray: str | None = None) -> dict[Path, str]:
    """Train the runs that are not finished; resume those that were interrupted.

    Parameters
    ----------
    grid : Grid
    jobs : int
        Runs at a time. More than one run in spawned processes, which divide the threads among
        them.
    notice : callable
        Called with a line for every run that ends.
    ray : str
        The address of a Ray cluster to train on; None: on this machine.

    Returns
    -------
    dict
        For every run that failed, by its folder, why.

    Raises
    ------
    Interrupted
        After Ctrl-C or SIGTERM, with every run saved.
    """
    todo = [plan for plan in grid.plans if not finished(plan)]
    ends = len(grid.plans) - len(todo)
    if ends:
        notice(f"{ends} of {len(grid.plans)} runs are finished already")
    failures: dict[Path, str] = {}

    def ended(plan: PlannedRun, failure: str | None) -> None:
        nonlocal ends
        ends += 1
        if failure is not None:
            failures[plan.path] = failure
        end = f"failed: {failure}" if failure is not None else _summary(plan)
        notice(f"{ends}/{len(grid.plans)} {plan.path.name}: {end}")

    if ray is not None:
        if make_on_cluster(grid.task, todo, ray, _make, ended):
            raise Interrupted(STOPPED)
    elif jobs == 1:
        with stop_signals() as stop:
            for plan in todo:
                if stop.is_set():  # it came when the run before had nothing left but its test
                    raise Interrupted(STOPPED)
                ended(plan, _make(grid.task, asdict(plan.config), plan.path))
    else:
        threads = max(1, (grid.plans[0].config.threads or torch.get_num_threads()) // jobs)
        _in_parallel(grid.task, todo, jobs, threads, ended)
    return failures


def _summary(plan: PlannedRun) -> str:
    run = Run.open(plan.path)
    (test,) = run.records("test")
    seconds = run.records("valid")[-1]["seconds"]
    converged = test.get("converged_step")
    note = f", converged at step {converged}" if converged else ""
    return f"{test['step']} steps in {seconds:.0f} s{note}"


def _make(task: str, options: dict[str, Any], path: Path) -> str | None:
    """Train or resume one run; return the reason if it fails. An interrupt is passed on."""
    try:
        if _begun(path):
            resume(path)
        else:
            if options["minutes"]:
                del options["steps"]
            train(task, out=path, **options)
    except InputError as error:
        return str(error)
    except Exception as error:
        if path.is_dir():
            (path / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None


def _begun(path: Path) -> bool:
    """Return whether there is a run to resume."""
    return (path / "config.json").exists()


@dataclass
class _Worker:
    """A spawned process that trains one run after another, and its current run."""

    process: SpawnProcess
    pipe: Any
    plan: PlannedRun

    @classmethod
    def start(cls, task: str, plan: PlannedRun, threads: int) -> "_Worker":
        """Start a process with its first run."""
        context = multiprocessing.get_context("spawn")
        pipe, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, task, threads), daemon=True)
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        worker = cls(process, pipe, plan)
        worker.start_run(plan)
        return worker

    def start_run(self, plan: PlannedRun) -> None:
        """Send it a run."""
        self.plan = plan
        self.pipe.send(plan)

    def outcome(self) -> tuple[bool, str | None]:
        """Return whether the process is alive, and why its run failed, if it did."""
        try:
            return True, self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            return False, f"its process ended with exit code {self.process.exitcode}"

    def close(self) -> None:
        """Let it end."""
        self.pipe.close()
        self.process.join()


def _in_parallel(
    task: str,
    todo: list[PlannedRun],
    jobs: int,
    threads: int,
    ended: Callable[[PlannedRun, str | None], None],
) -> None:
    """Train runs in processes: what ends one of them does not affect the others."""
    waiting, workers = deque(todo), list[_Worker]()
    with stop_signals() as stop:
        while (waiting or workers) and not stop.is_set():
            while waiting and len(workers) < jobs:
                workers.append(_Worker.start(task, waiting.popleft(), threads))
            ready = wait([worker.pipe for worker in workers], timeout=0.5)
            for worker in [w for w in workers if w.pipe in ready]:
                plan, (lives, failure) = worker.plan, worker.outcome()
                if stop.is_set():  # the process was stopped too, which is no failure
                    continue
                ended(plan, failure)
                if lives and waiting:
                    worker.start_run(waiting.popleft())
                else:
                    worker.close()
                    workers.remove(worker)
        for worker in workers:
            worker.process.terminate()  # a signal on which it saves, and ends
        for worker in workers:
            worker.close()
    if stop.is_set():
        raise Interrupted(STOPPED)


def _work(pipe: Connection, task: str, threads: int) -> None:
    """Train the runs that come through the pipe, until it is closed or a signal arrives."""
    while True:
        try:
            plan = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            options = asdict(replace(plan.config, threads=threads))
            pipe.send(_make(task, options, plan.path))
        except KeyboardInterrupt:
            return
