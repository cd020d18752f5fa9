"""`TaskEntry`: what the commands need to know of a task, without importing torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plait.errors import InputError
from plait.nn.registry import load


@dataclass(frozen=True)
class TaskOption:
    """An option of `plait score` or `plait predict` that belongs to a task.

    Attributes
    ----------
    name : str
        The argument of the task's function.
    kind : type
        `bool`, `int`, `float` or `str`.
    help : str
    flag : str
        On the command line, without the dashes; empty: the name.
    prints : bool
        Whether `plait predict` with it prints the table, unless --out is given.
    draws : bool
        Whether `plait predict` with it draws the table too, by the task's `draw`.
    """

    name: str
    kind: type
    help: str
    flag: str = ""
    prints: bool = False
    draws: bool = False

    @property
    def written(self) -> str:
        """The flag as it is written."""
        return "--" + (self.flag or self.name.replace("_", "-"))


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """A task by name: its help, and where its parts are, each as `package.module:name`.

    Attributes
    ----------
    name, help : str
        The command, and what its help says.
    config, task, model : str
        A `TrainingConfig`, a `plait.training.task.Task`, and its model.
    score : str
        A function (model, config, facts, data, **options) for `plait score`. Empty: runs are scored
        on their own test set alone.
    predict : str
        A function of the same arguments for `plait predict`, returning a DataFrame. Empty: none.
    follow : str
        A function (model, config, facts, source, stop, data, **options) for `plait predict
        --follow`, yielding lines of text until the event `stop` is set. Empty: none.
    draw : str
        A function (model, config, facts, table, path) that draws a table of `predict` as a PNG, for
        options that ask for it.
    probe : str
        A function (model, config, facts) for `plait inspect`: arguments of the model, and targets,
        that it was not trained on. Empty: none.
    export : str
        A function (model, config, facts, step) for `plait export`, returning a
        `plait.export_formats.Form`: of a whole sequence, or of one step. Empty: none.
    published : str
        A function (config) for `plait compare`: the steps that others needed, by source.
    repetition : str
        A function (model, config, facts) for `plait inspect --repetition`.
    units : str
        A function (model, config, facts, path) for `plait inspect --units`, with a picture.
    page : str
        A function (model, config, facts) for `plait serve`, returning a `plait.pages.Page`. Empty:
        the page of any task.
    score_data, predict_data : str
        What `--data` may be; empty: the run's own data alone.
    predicts : str
        What the table of `plait predict` has.
    score_options, predict_options : sequence of TaskOption
    """

    name: str
    help: str
    config: str
    task: str
    model: str
    score: str = ""
    predict: str = ""
    follow: str = ""
    draw: str = ""
    probe: str = ""
    export: str = ""
    published: str = ""
    repetition: str = ""
    units: str = ""
    page: str = ""
    score_data: str = ""
    predict_data: str = ""
    predicts: str = ""
    score_options: Sequence[TaskOption] = ()
    predict_options: Sequence[TaskOption] = ()

    def part(self, name: str, without: str = "") -> Any:
        """Import one of the parts; `InputError` with the text `without` where there is none."""
        place = getattr(self, name)
        if not place:
            raise InputError(without)
        return load(place)
