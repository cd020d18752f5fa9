"""The run folder: everything that one training leaves on disk.

config.json         format version, task, configuration, and the facts that rebuild the model
model.safetensors   the weights that did best on validation
checkpoint/         everything needed to go on, the last two
kept/               the weights at 1/3, 2/3 and 3/3 of the training; of a text at every sixth
metrics.jsonl       a line per step, validation, sample and test
samples.txt         the samples in the log, to read
curves.png          the learning curves
events.out.…        the log for TensorBoard, with --log tensorboard
given/              data that was given in memory, as files
"""

import contextlib
import json
import os
import shlex
import socket
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from torch import Tensor

from plait.errors import InputError
from plait.json_files import read_json
from plait.renamed import RenamedAttribute
from plait.text_files import read_content, require_path
from plait.training.checkpoint import load_tensors, save_tensors
from plait.training.config import TrainingConfig
from plait.training.files import write_aside, write_json

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from plait.training.events import Events

FORMAT = 1
CHECKPOINTS_KEPT = 2
GIVEN = "given"
"""The folder of data that a user gave in memory; it is there before the run is."""


class Run:
    """A run folder, new or found again.

    Attributes
    ----------
    path : Path
    task : str
        The task's name.
    config : dict
        The configuration as JSON values.
    facts : dict
        What the task needs to rebuild its model without the data: vocabulary, sizes, data hash.
    """

    def __init__(
        self, path: Path, task: str, config: dict[str, Any], facts: dict[str, Any]
    ) -> None:
        self.path, self.task, self.config, self.facts = path, task, config, facts
        self._pending: list[str] = []
        self.events: Events | None = None  # set while they are asked for

    @classmethod
    def create(
        cls, path: Path, task: str, config: TrainingConfig, facts: Mapping[str, Any]
    ) -> "Run":
        """Start a folder; one that exists and is not empty is refused with `InputError`."""
        if not (path / GIVEN).exists():
            cls.require_free(path)
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path, task, asdict(config), dict(facts))
        run.save_config()
        return run

    def save_config(self) -> None:
        """Write `config.json`."""
        content = {"format": FORMAT, "task": self.task, "config": self.config, "facts": self.facts}
        write_json(self.path / "config.json", content)

    @staticmethod
    def require_free(path: Path) -> None:
        """Refuse, with `InputError`, a place where something is already."""
        require_path(path)
        if (path / "config.json").exists():
            raise InputError(
                f"{path} exists already; give another --out, or resume it: plait resume "
                f"{shlex.quote(str(path))}"
            )
        if path.exists() and (not path.is_dir() or any(map(_is_content, path.iterdir()))):
            raise InputError(f"{path} exists already and is no run folder; give another --out")

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Find a folder again; `InputError` where there is none, or a newer Plait's."""
        file = path / "config.json"
        require_path(path)
        if path.is_file():
            raise InputError(f"{path} is a file, not a run folder")
        if not file.exists():
            raise InputError(f"{path} is not a run folder: it has no config.json")
        content = read_json(file, "is damaged")
        if not isinstance(content, dict) or not isinstance(content.get("format"), int):
            raise InputError(f"{file} is not a configuration that Plait wrote")
        if content["format"] > FORMAT:
            raise InputError(
                f"{file} has format {content['format']}, of a newer Plait; this one reads "
                f"{FORMAT}: upgrade Plait"
            )
        for name, kind in (("task", str), ("config", dict), ("facts", dict)):
            if not isinstance(content.get(name), kind):
                raise InputError(f"{file} is damaged: it has no usable {name!r}")
        return cls(path, content["task"], content["config"], _Facts(content["facts"], file))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; `InputError` says who else holds it."""
        lock, owner = FileLock(self.path / ".lock"), self.path / ".owner.json"
        try:
            lock.acquire(timeout=0)
        except Timeout:
            try:
                who = read_json(owner)
                other = f"process {who['process']} on {who['host']}"
            except (InputError, KeyError, TypeError):
                other = "another process"
            raise InputError(f"{self.path} is in use by {other}") from None
        try:
            for leftover in self.path.rglob(".*.part"):  # of a process that was killed
                leftover.unlink()
            write_json(owner, {"process": os.getpid(), "host": socket.gethostname()})
            yield
        finally:
            owner.unlink(missing_ok=True)
            lock.release()

    @property
    def metrics_path(self) -> Path:
        """The log, one JSON object per line."""
        return self.path / "metrics.jsonl"

    def log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Add a line to the log; it reaches the disk with the next `flush`."""
        self._pending.append(json.dumps({"step": step, "kind": kind, **values}) + "\n")
        if self.events is not None:
            self.events.log(kind, step, values)

    def flush(self, *, to_disk: bool = False) -> None:
        """Write out the lines of `log`; `to_disk` waits until the disk has them."""
        if not (self._pending or to_disk):
            return
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write("".join(self._pending))
            self._pending.clear()
            if to_disk:
                file.flush()
                os.fsync(file.fileno())
        if self.events is not None:
            self.events.flush()

    def records(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Read the log; a last line that was cut short by a crash is passed over."""
        self.flush()
        if not self.metrics_path.exists():
            return []
        records = []
        lines = read_content(self.metrics_path).decode(errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                if type(record["step"]) is not int or not isinstance(record["kind"], str):
                    raise TypeError
                if record["step"] >= 0 and kind in (None, record["kind"]):
                    records.append(record)
            except (ValueError, KeyError, TypeError, RecursionError):
                if number < len(lines):
                    raise InputError(f"{self.metrics_path}, line {number}: damaged") from None
        return records

    @property
    def scores(self) -> "pd.DataFrame":
        """Return the scores on the test set, one row per score; none before the test.

        The row's name is the score's, the column is `value`. Scores that are tables themselves
        are in `records("test")` alone.
        """
        import pandas as pd  # slow to import

        test = next(iter(self.records("test")), {})
        values = {k: v for k, v in test.items() if type(v) in (int, float) and k != "step"}
        return pd.DataFrame({"value": pd.Series(values, dtype=float)})

    @property
    def history(self) -> "pd.DataFrame":
        """Return the learning curves: a row per step, a column per score.

        Columns are named `train_loss`, `valid_loss`, …; NaN where a step was not validated.
        """
        import pandas as pd  # slow to import

        rows: dict[int, dict[str, float]] = {}
        for record in self.records():
            if record["kind"] in ("train", "valid"):
                row = rows.setdefault(record["step"], {})
                row |= {
                    f"{record['kind']}_{name}": value
                    for name, value in record.items()
                    if type(value) in (int, float) and name not in ("step", "seconds")
                }
        return pd.DataFrame.from_dict(rows, orient="index").sort_index().rename_axis("step")

    def plot(self) -> "Figure":
        """Return a matplotlib figure: the learning curves, and the pictures of the task.

        Example
        -------
        >>> import plait, tempfile
        >>> run = plait.train("nodes", data="karate", steps=5, out=tempfile.mkdtemp() + "/run")
        >>> run.plot().savefig(run.path / "figure.pdf")
        """
        from plait.training.notebook import run_figure  # brings matplotlib

        return run_figure(self)

    def _repr_html_(self) -> str:
        """Return what a notebook shows of it."""
        from plait.training.notebook import run_html

        return run_html(self)

    cut_back = RenamedAttribute("truncate_log")

    def truncate_log(self, step: int) -> None:
        """Drop from the log, and from the samples, whatever came after this step."""
        kept = [json.dumps(r) + "\n" for r in self.records() if r["step"] <= step]
        write_aside(self.metrics_path, "".join(kept).encode())
        if (self.path / "samples.txt").exists():
            self.write_samples()

    @property
    def model_path(self) -> Path:
        """The weights that did best on validation."""
        return self.path / "model.safetensors"

    def write_samples(self) -> None:
        """Write `samples.txt` from the samples in the log."""
        samples = (f"--- step {r['step']}\n{r['text']}\n" for r in self.records("sample"))
        write_aside(self.path / "samples.txt", "".join(samples).encode())

    def kept_path(self, step: int) -> Path:
        """Return where the weights of a milestone are kept."""
        return self.path / "kept" / f"step-{step:08d}.safetensors"

    def kept_steps(self) -> list[int]:
        """List the milestones reached so far."""
        return [int(p.stem[5:]) for p in sorted(self.path.glob("kept/step-*.safetensors"))]

    def save_model(self, path: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Write weights to `model_path` or a `kept_path`."""
        path.parent.mkdir(exist_ok=True)
        save_tensors(path, weights, {"step": step})

    def save_checkpoint(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write a checkpoint for `facts["step"]`; older ones but the last are removed."""
        folder = self.path / "checkpoint"
        folder.mkdir(exist_ok=True)
        save_tensors(folder / f"step-{facts['step']:08d}.safetensors", tensors, facts)
        for old in self._checkpoints()[CHECKPOINTS_KEPT:]:
            old.unlink()

    @property
    def is_unbegun(self) -> bool:
        """Whether it was stopped before its first checkpoint, so that nothing is learnt yet."""
        return not (self._checkpoints() or self.model_path.exists() or self.records())

    def load_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
        """Read the newest whole checkpoint, and say which newer ones are damaged.

        Raises `InputError` when there is none to go on from.
        """
        damaged: list[str] = []
        for path in self._checkpoints():
            try:
                return *load_tensors(path), damaged
            except InputError as error:
                damaged.append(str(error))
        if damaged:
            raise InputError(f"no whole checkpoint in {self.path}: {'; '.join(damaged)}")
        raise InputError(f"{self.path} has no checkpoint to go on from; train anew")

    def _checkpoints(self) -> list[Path]:
        return sorted(self.path.glob("checkpoint/step-*.safetensors"), reverse=True)


class _Facts(dict[str, Any]):
    """Facts read from a file; one that is asked for and missing names the file."""

    def __init__(self, facts: Mapping[str, Any], file: Path) -> None:
        super().__init__(facts)
        self.file = file

    def __missing__(self, name: str) -> Any:
        raise InputError(f"{self.file} is damaged: its facts have no {name!r}")


def _is_content(file: Path) -> bool:
    """Return whether a file is more than what a process left that was killed while it wrote."""
    return not (file.name.startswith(".") and file.suffix == ".part")


def next_free(folder: Path, name: str) -> Path:
    """Return `folder/name`, or `name-2`, `name-3`, …: the first that is not there.

    >>> from pathlib import Path
    >>> from plait.training.run import next_free
    >>> next_free(Path("no-such-folder"), "text-presidents").name
    'text-presidents'
    """
    path, number = folder / name, 1
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}"
    return path
