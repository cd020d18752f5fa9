"""A grid: the fields that vary, the seeds, and a run for every combination."""

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from plait.errors import InputError
from plait.json_files import read_json
from plait.tasks import config_class
from plait.text_files import require_path
from plait.training.config import TrainingConfig
from plait.training.files import write_json

FORMAT = 1
MOST = 100_000
"""Runs that a grid may have."""
NOT_VARIED = {
    "seed": "give --seeds",
    "threads": "give --threads and --jobs",
    "log": "it changes no score; give --log",
}
YES, NO = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True)
class PlannedRun:
    """One run of a grid: its varied values, its seed, its configuration and its folder."""

    values: Mapping[str, Any]
    config: TrainingConfig
    path: Path

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.config.seed


@dataclass(frozen=True)
class Grid:
    """The plans of all runs, in the order in which they are made.

    Attributes
    ----------
    task : str
    path : Path
        The folder under which the run folders are.
    vary : mapping of tuple
        The varied fields and their values.
    seeds : tuple of int
    plans : tuple of PlannedRun
        All values with the first seed, then all with the second, …: an interrupted grid has
        runs of all values.
    """

    task: str
    path: Path
    vary: Mapping[str, tuple[Any, ...]]
    seeds: tuple[int, ...]
    plans: tuple[PlannedRun, ...]

    @classmethod
    def of(
        cls,
        task: str,
        path: Path,
        vary: Mapping[str, Sequence[Any]],
        seeds: int | Sequence[int],
        recipe: str | None,
        options: Mapping[str, Any],
    ) -> "Grid":
        """Combine the values; raise `InputError` for invalid fields, values or seeds."""
        kind = config_class(task)
        if not vary:
            raise InputError("nothing varies; give --vary FIELD=VALUE,VALUE")
        for name, values in vary.items():
            _require_variable(kind, name, values, options)
        count = math.prod(map(len, vary.values()))
        if count > MOST:
            raise InputError(f"--vary makes {count} combinations; a grid has at most {MOST} runs")
        combinations = [
            dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())
        ]
        configs = [kind.of({**options, **values}, recipe) for values in combinations]
        seeds = _seeds(seeds, configs[0].seed)
        if len(seeds) * len(configs) > MOST:
            raise InputError(
                f"{len(seeds)} seeds of {len(configs)} combinations are more than the {MOST} runs "
                "that a grid may have; give fewer --seeds"
            )
        plans = tuple(
            PlannedRun(values, replace(config, seed=seed), path / _folder(values, seed))
            for seed in seeds
            for values, config in zip(combinations, configs, strict=True)
        )
        twice = len(plans) - len({plan.path for plan in plans})
        if twice:
            raise InputError(
                f"{twice} of the varied values give folders of the same name, as characters that a "
                "file name cannot have become _; rename such values"
            )
        return cls(task, path, {k: tuple(v) for k, v in vary.items()}, seeds, plans)

    def claim(self) -> None:
        """Write `grid.json` in a new folder, or check that an existing one has the same grid.

        Raises `InputError`, and writes nothing, where the folder holds something else.
        """
        require_path(self.path)
        file = self.path / "grid.json"
        if not file.exists():
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise InputError(f"{self.path} exists already and is no grid; give another --out")
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(file, self._settings())
            return
        there = read_json(file, "is damaged")
        try:
            differs = _difference(there, json.loads(json.dumps(self._settings())))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file} is damaged: {error}") from None
        if differs:
            raise InputError(f"{self.path} holds another grid: {differs}; give another --out")

    def _settings(self) -> dict[str, Any]:
        """Return the settings that must be equal to continue a grid; no score depends on others."""
        runs = {plan.path.name: asdict(plan.config) for plan in self.plans}
        for config in runs.values():
            del config["threads"], config["log"]
        settings = {"task": self.task, "vary": dict(self.vary), "seeds": self.seeds}
        return {"format": FORMAT, **settings, "runs": runs}


def read_vary(texts: Iterable[str], task: str) -> dict[str, tuple[Any, ...]]:
    """Read the command line's FIELD=VALUE,VALUE, by the types of the task's fields.

    >>> from plait.comparison.grid import read_vary
    >>> read_vary(["cell=lstm,gru", "hidden-size=16,32"], "memory")
    {'cell': ('lstm', 'gru'), 'hidden_size': (16, 32)}
    """
    kinds = {f.name: f.type for f in fields(config_class(task))}
    vary: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not values:
            raise InputError(f"--vary {text}: write FIELD=VALUE,VALUE")
        if name in vary:
            raise InputError(f"--vary {name} is given twice; put all its values into one")
        if not all(v.strip() for v in values.split(",")):
            raise InputError(f"--vary {text}: a value is missing at a comma; write FIELD=A,B")
        read = (_value(name, v.strip(), kinds.get(name, str)) for v in values.split(","))
        vary[name] = tuple(read)
    return vary


def read_seeds(text: str) -> int | tuple[int, ...]:
    """Read "3", so many seeds, or "2019,2020,2021", these.

    >>> from plait.comparison.grid import read_seeds
    >>> read_seeds("3"), read_seeds("2019,2020")
    (3, (2019, 2020))
    """
    try:
        if "," not in text:
            return int(text)
        return tuple(int(part) for part in text.rstrip(",").split(","))
    except ValueError:
        raise InputError(f"--seeds {text}: give how many, or the seeds: 2019,2020") from None


def _value(name: str, text: str, kind: Any) -> Any:
    """Convert text to a field's type; a choice stays text, which the configuration checks."""
    if kind is bool:
        if text.lower() not in YES + NO:
            raise InputError(f"--vary {name}: {text!r} is neither true nor false")
        return text.lower() in YES
    if kind not in (int, float):
        return text
    try:
        return kind(text)
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise InputError(f"--vary {name}: {text!r} is not {expected}") from None


def _require_variable(
    kind: type[TrainingConfig], name: str, values: Sequence[Any], options: Mapping[str, Any]
) -> None:
    known = [f.name for f in fields(kind) if f.name not in NOT_VARIED]
    if name in NOT_VARIED:
        raise InputError(f"--vary {name} is not possible; {NOT_VARIED[name]}")
    if name not in known:
        raise InputError(f"no option named {name!r} to vary; there are {', '.join(known)}")
    if name in options:
        flag = name.replace("_", "-")
        raise InputError(f"{name} is varied; leave --{flag} out")
    if isinstance(values, str) or not values:
        raise InputError(f"{name} must vary over a list of values, not {values!r}")
    for value in values:
        if values.count(value) > 1:
            raise InputError(f"--vary {name} has {value!r} twice")


def _seeds(seeds: int | Sequence[int], first: int) -> tuple[int, ...]:
    if isinstance(seeds, int):
        if seeds < 1:
            raise InputError(f"--seeds must be at least 1, not {seeds}")
        if seeds > MOST:
            raise InputError(f"--seeds must be at most {MOST}, the runs of a grid, not {seeds}")
        return tuple(range(first, first + seeds))
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"--seeds must be numbers, each once, not {list(seeds)}")
    return tuple(seeds)


def _folder(values: Mapping[str, Any], seed: int) -> str:
    """Name a run's folder by its varied values; characters unsafe in paths become _."""
    named = ",".join(f"{k}={v}" for k, v in {**values, "seed": seed}.items())
    return re.sub(r"[^\w.,=+-]", "_", named)


def _difference(there: Any, here: Any) -> str:
    """Return in a few words where two settings first differ; empty where they do not."""
    if there["format"] > FORMAT:
        return f"it has format {there['format']}, of a newer Plait"
    for name in ("task", "vary", "seeds"):
        if there[name] != here[name]:
            return f"{name} is {_short(there[name])} there, {_short(here[name])} here"
    for run, config in here["runs"].items():
        before = there["runs"][run]
        for name in {**before, **config}:
            if before.get(name) != config.get(name):
                return f"{name} is {before.get(name)} there, {config.get(name)} here ({run})"
    return ""


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{k}={_short(v)}" for k, v in value.items())
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
