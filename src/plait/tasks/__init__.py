"""The tasks: one folder each, found by listing; and those of installed packages.

A folder of this package, and a module that a package names in the entry-point group `plait.tasks`,
exports one `TASK`, a `TaskEntry`. README.md says what the files of a folder are.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from plait.errors import InputError
from plait.news import LOGGER, remark
from plait.tasks.entry import TaskEntry, TaskOption
from plait.training.config import TrainingConfig

__all__ = ["TASKS", "TaskEntry", "TaskOption", "config_class", "model_class", "task_class"]

GROUP = "plait.tasks"
"""The group of entry points by which a package names tasks of its own."""

FIRST = (
    "text", "memory", "nodes", "visits", "forecast", "digits", "links", "communities", "scenes",
    "structure",
)  # fmt: skip
"""The order in which help lists Plait's own; others follow by name."""


def _own() -> Iterator[TaskEntry]:
    """Find the tasks in the folders of this package."""
    folders = {found.name for found in iter_modules(__path__) if found.ispkg}
    for name in (*FIRST, *sorted(folders.difference(FIRST))):
        yield import_module(f"{__name__}.{name}").TASK


def _installed(known: Mapping[str, TaskEntry]) -> Iterator[TaskEntry]:
    """Find the tasks of installed packages; one that cannot be used is logged in a line."""
    from importlib.metadata import entry_points  # slow to import

    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            entry = point.load()
            if not isinstance(entry, TaskEntry):
                raise TypeError(f"{point.value} is no TaskEntry")
            if entry.name in known:
                raise ValueError(f"there is a task named {entry.name!r} already")
            if not issubclass(entry.part("config"), TrainingConfig):
                raise TypeError(f"{entry.config} is no TrainingConfig")
        except Exception as error:  # whatever a package does wrong must not stop the others
            LOGGER.warning(_broken(point, error))
            continue
        yield entry


def _broken(point: Any, error: Exception) -> str:
    package = f" of the package {point.dist.name}" if point.dist is not None else ""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return f"plait: the task {point.name!r}{package} is left out: {reason}; fix or uninstall it"


class Tasks(Mapping[str, TaskEntry]):
    """The tasks by name, found at the first use: packages of tasks import `plait` themselves."""

    @cached_property
    def entries(self) -> Mapping[str, TaskEntry]:
        """The tasks' entries."""
        own = {entry.name: entry for entry in _own()}
        return own | {entry.name: entry for entry in _installed(own)}

    def __getitem__(self, name: str) -> TaskEntry:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


TASKS = Tasks()
"""The tasks by name."""


def config_class(task: str) -> type[TrainingConfig]:
    """Return a task's configuration; imports no torch. `InputError` for an unknown task."""
    return _entry(task).part("config")


def task_class(task: str) -> Any:
    """Return a task's class, a `plait.training.task.Task`."""
    return _entry(task).part("task")


def model_class(task: str) -> Any:
    """Return a task's model; `from_facts(config, facts)` rebuilds it from a run folder."""
    return _entry(task).part("model")


def score_trained(
    task: str,
    model: Any,
    config: TrainingConfig,
    facts: Mapping[str, Any],
    data: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Score a trained model, on other data where the task takes some, or on its own test set."""
    entry = _entry(task)
    _require_known(entry, entry.score_options, options)
    if entry.score:
        return entry.part("score")(model, config, facts, data, **options)
    if data is not None:
        raise InputError(f"a {task} run is scored on its own data alone; leave --data out")
    restored = task_class(task).restore(model, config, facts)
    remark("read", restored.notes)
    from plait.training.ablation import scores_with_ablation  # brings torch

    return scores_with_ablation(restored)


def predict_trained(
    task: str,
    model: Any,
    config: TrainingConfig,
    facts: Mapping[str, Any],
    data: str | None = None,
    **options: Any,
) -> Any:
    """Return a trained model's predictions, a DataFrame; `InputError` where there are none."""
    entry = _entry(task)
    require_predictions(task)
    _require_known(entry, entry.predict_options, options)
    if options.get("follow") is not None:
        raise InputError("predict takes no argument follow; call plait.api.follow instead")
    if data is not None and not entry.predict_data:
        raise InputError(f"a {task} run predicts for its own data alone; leave --data out")
    return entry.part("predict")(model, config, facts, data, **options)


def follow_trained(
    task: str,
    model: Any,
    config: TrainingConfig,
    facts: Mapping[str, Any],
    source: str,
    stop: Any,
    data: str | None = None,
    **options: Any,
) -> Any:
    """Return an iterator over lines, what a model predicts from each row that arrives."""
    entry = _entry(task)
    without = f"{task} runs follow no rows that arrive; leave --follow out"
    function = entry.part("follow", without)
    _require_known(entry, entry.predict_options, options)
    return function(model, config, facts, source, stop, data, **options)


def draw_function(task: str, options: Mapping[str, Any]) -> Any:
    """Return what draws a task's predictions with these options as a PNG; None: nothing does."""
    entry = _entry(task)
    asked = any(option.draws and options.get(option.name) for option in entry.predict_options)
    return entry.part("draw") if asked else None


def require_predictions(task: str) -> None:
    """Refuse, with `InputError`, a task whose runs predict no table."""
    if not _entry(task).predict:
        raise InputError(f"{task} runs predict no table")


def published_steps(task: str, config: TrainingConfig) -> Mapping[str, int]:
    """Return at which step others' models like this one had learnt, by what they measured."""
    entry = _entry(task)
    return entry.part("published")(config) if entry.published else {}


def probe_batch(
    task: str, model: Any, config: TrainingConfig, facts: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Return arguments of the model and targets to try a run on; `InputError` where there are none.

    They are not of the training data.
    """
    without = f"{task} runs have no sequences to try them on"
    return _entry(task).part("probe", without)(model, config, facts)


def exported_form(
    task: str, model: Any, config: TrainingConfig, facts: Mapping[str, Any], *, step: bool
) -> Any:
    """Return a trained model as a `plait.export_formats.Form`; `InputError` where there is none."""
    able = ", ".join(name for name, entry in TASKS.items() if entry.export)
    without = (
        f"{task} runs cannot be exported, those of {able} can; plait.export writes single layers"
    )
    return _entry(task).part("export", without)(model, config, facts, step=step)


def page_of(task: str, model: Any, config: TrainingConfig, facts: Mapping[str, Any]) -> Any:
    """Return the `plait.pages.Page` of a task's run; None for a task without one of its own."""
    entry = _entry(task)
    return entry.part("page")(model, config, facts) if entry.page else None


def repetition_function(task: str) -> Any:
    """Return what measures how much a task's model repeats itself; `InputError` for most tasks."""
    return _entry(task).part(
        "repetition", f"--repetition is for runs that write text, not for {task!r} runs"
    )


def units_function(task: str) -> Any:
    """Return what finds states that keep track of the text; `InputError` for most tasks."""
    return _entry(task).part("units", f"--units is for runs of texts, not for {task!r} runs")


def _entry(task: str) -> TaskEntry:
    if task not in TASKS:
        raise InputError(f"no task named {task!r}; there are {', '.join(TASKS)}")
    return TASKS[task]


def _require_known(
    entry: TaskEntry, known: Sequence[TaskOption], options: Mapping[str, Any]
) -> None:
    """Refuse options that a task does not have."""
    everywhere = [o for e in TASKS.values() for o in (*e.score_options, *e.predict_options)]
    written = {option.name: option.written for option in everywhere}
    for name in options:
        if name not in {option.name for option in known}:
            flag = written.get(name, "--" + name.replace("_", "-"))
            raise InputError(f"{flag} is not for {entry.name!r} runs")
