"""Train the runs of a grid as tasks of a Ray cluster, on as many machines as it has."""

import contextlib
import importlib.util
import os
import socket
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from plait.comparison.grid import PlannedRun
from plait.errors import InputError
from plait.training.files import write_aside
from plait.training.signals import stop_signals

LOCAL = "auto"
"""The address that means: a cluster that runs already, or else one on this machine alone."""

RETRIES = 3
"""How often a run is begun again whose process, or machine, is lost."""

SAVING = 60.0
"""Seconds that runs have to save themselves after a signal."""

SECONDS = 5.0
"""How long to try whether there is a cluster at an address."""

Files = dict[str, bytes]
Make = Callable[[str, dict[str, Any], Path], str | None]


def make_on_cluster(
    task: str,
    todo: Sequence[PlannedRun],
    address: str,
    make: Make,
    ended: Callable[[PlannedRun, str | None], None],
) -> bool:
    """Train runs on a cluster; return whether a signal stopped them, with every run saved.

    A run takes as many CPUs as it has threads, one where `--threads` is 0, and a GPU where it is to
    compute on one. A run whose process is killed is resumed by another.

    Parameters
    ----------
    task : str
    todo : sequence of PlannedRun
    address : str
        Of the cluster; `LOCAL`: one that runs already, or else one on this machine.
    make : callable
        Trains or resumes a run, by task, options and folder; returns why it failed, or None.
    ended : callable
        Called for every run that ends, with why it failed, or None.

    Raises
    ------
    InputError
        Without Ray, without a cluster at the address, and where no machine has enough CPUs.
    """
    if not todo:
        return False
    with connected(address) as ray, _token(todo[0].path.parent) as token, stop_signals() as stop:
        threads = todo[0].config.threads or 1
        _require_cpus(ray, threads)
        resources = ray.cluster_resources()
        device = todo[0].config.device
        gpus = 1 if device == "cuda" or (device == "auto" and resources.get("GPU")) else 0
        remote = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=RETRIES)(train_there)
        waiting = {}
        for plan in todo:
            options = asdict(replace(plan.config, threads=threads))
            waiting[remote.remote(make, task, options, plan.path, token.name)] = plan
        while waiting and not stop.is_set():
            ready, _ = ray.wait(list(waiting), timeout=0.5)
            for reference in ready:
                plan = waiting.pop(reference)
                ended(plan, _outcome(ray, reference, plan.path))
        for reference in waiting:
            ray.cancel(reference)  # a signal on which it saves, and ends
        if waiting:
            ray.wait(list(waiting), num_returns=len(waiting), timeout=SAVING)
        return stop.is_set()


def train_there(
    make: Make, task: str, options: dict[str, Any], path: Path, token: str
) -> tuple[str | None, Files]:
    """Train a run on a machine of the cluster; return why it failed, and its files.

    Where the machine sees the grid's folder, which holds the file `token`, the run is written there
    and no file is returned.
    """
    if (path.parent / token).exists():
        return make(task, options, path), {}
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / path.name
        failure = make(task, options, own)
        files = (p for p in own.rglob("*") if p.is_file() and p.name != ".lock")
        return failure, {p.relative_to(own).as_posix(): p.read_bytes() for p in files}


def take_over(files: Files, path: Path) -> None:
    """Write the files of a run that was trained elsewhere, last what makes it a run."""
    for name in sorted(files, key=lambda name: name == "config.json"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        write_aside(path / name, files[name])


def _outcome(ray: Any, reference: Any, path: Path) -> str | None:
    """Return why a run failed, None where it did not; take its files over."""
    try:
        failure, files = ray.get(reference)
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        return f"its process was lost {RETRIES + 1} times ({first})"
    take_over(files, path)
    return failure


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to a cluster, unless this is within such a context; what was started here is ended.

    Raises `InputError` where there is none.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray

        if ray.is_initialized():
            yield ray
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address != LOCAL:
            options["address"] = address
        elif not os.environ.get("RAY_ADDRESS"):
            options["include_dashboard"] = False
        try:
            ray.init(**options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise _nobody(address, str(error).strip().splitlines()[0]) from None
        try:
            yield ray
        finally:
            ray.shutdown()


def require_cluster(address: str) -> None:
    """Refuse, with `InputError`, an address where nothing listens, without Ray's long wait."""
    if importlib.util.find_spec("ray") is None:
        raise InputError("--ray needs the package ray; install plait[cluster]")
    if address == LOCAL:
        return
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"--ray {address}: give HOST:PORT, such as 10.0.0.1:6379, or no address")
    try:
        socket.create_connection((host, int(port)), SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _nobody(address, str(error)) from None


def _nobody(address: str, why: str) -> InputError:
    return InputError(
        f"--ray {address}: there is no Ray cluster ({why}); start one with ray start --head, or "
        "give --ray without an address"
    )


def _require_cpus(ray: Any, threads: int) -> None:
    """Refuse runs that no machine has the CPUs for, which would wait for ever."""
    most = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    if threads > most:
        raise InputError(
            f"no machine of the cluster has {threads} CPUs for a run; give --threads {most}"
        )


@contextlib.contextmanager
def _token(folder: Path) -> Iterator[Path]:
    """Make a file by which a machine knows that it sees this folder."""
    token = folder / f".{uuid.uuid4().hex}.part"
    token.touch()
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)
