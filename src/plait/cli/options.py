"""Options of commands, from the fields of a configuration and from what tasks declare."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from plait.cli.flags import Device, Threads, whole_number
from plait.tasks import TaskOption, config_class
from plait.training.config import TrainingConfig, choices_of


def with_flags(
    command: Callable[..., None], task: str, own: dict[str, tuple[Any, str, str]], text: str = ""
) -> Callable[..., None]:
    """Return a command with its own flags and those of the task's configuration."""
    parameters = [
        _parameter(name, kind, text, name=f"--{flag}") for name, (kind, flag, text) in own.items()
    ]
    parameters += _flags(config_class(task))
    return _signed(command, parameters, text)


def recipe_option(task: str) -> dict[str, tuple[Any, str, str]]:
    """Return the flag for named sets of options, if the task has any."""
    recipes = ", ".join(config_class(task).recipes)
    text = f"A named set of options, overridden by those given: {recipes}."
    return {"recipe": (str, "recipe", text)} if recipes else {}


def with_options(
    command: Callable[..., None],
    own: Mapping[str, tuple[Any, str]],
    of_tasks: Mapping[str, Sequence[TaskOption]],
) -> Callable[..., None]:
    """Make a command on a run folder, with options of its own and those of the tasks."""
    run = Annotated[Path, Parameter(help="The run folder.")]
    parameters = [inspect.Parameter("run", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=run)]
    parameters += [_parameter(name, kind, help_) for name, (kind, help_) in own.items()]
    helps: dict[TaskOption, dict[str, list[str]]] = {}  # of an option each text, and whose it is
    for task, options in of_tasks.items():
        for option in options:
            same = next((known for known in helps if known.name == option.name), option)
            helps.setdefault(same, {}).setdefault(option.help, []).append(task)
    for option, texts in helps.items():
        looks = {"negative": ""} if option.kind is bool else {}
        lines = " ".join(f"For {', '.join(tasks)}: {help_}" for help_, tasks in texts.items())
        parameters.append(_parameter(option.name, option.kind, lines, name=option.written, **looks))
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters += [
        inspect.Parameter("device", keyword, default="auto", annotation=Device),
        inspect.Parameter("threads", keyword, default=0, annotation=Threads),
    ]
    return _signed(command, parameters)


def _signed(
    command: Callable[..., None], parameters: Sequence[inspect.Parameter], text: str = ""
) -> Callable[..., None]:
    command.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = text
    return command


def _flags(config: type[TrainingConfig]) -> list[inspect.Parameter]:
    """Return the fields as flags: the task's first, then those of every training."""
    shared = {f.name for f in fields(TrainingConfig)}
    own_group, shared_group = Group("Task", sort_key=1), Group("Training", sort_key=2)

    return [
        _parameter(
            f.name,
            _kind(f),
            f.metadata["help"],
            group=shared_group if f.name in shared else own_group,
            show_default=f.default != "" and (lambda _, default=f.default: default),
        )
        for f in fields(config)
    ]


def _kind(field: Field[Any]) -> Any:
    """Return a field's type; of one with choices, all of them."""
    choices = choices_of(field)
    return Literal[choices] if choices else field.type  # pyright: ignore[reportInvalidTypeForm]


def _parameter(field: str, kind: Any, text: str, **looks: Any) -> inspect.Parameter:
    """Return a flag; None means that it was not given."""
    if kind is int:
        looks["converter"] = whole_number
    annotation = Annotated[kind | None, Parameter(help=text, **looks)]
    return inspect.Parameter(
        field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )
