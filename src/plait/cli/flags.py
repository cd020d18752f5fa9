"""Flags shared by commands, and flags from the fields of a configuration."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from plait.tasks import TaskOption, config_class
from plait.training.config import TrainingConfig, choices_of


def whole_number(kind: Any, tokens: Sequence[Token]) -> int:
    """Read a whole number; 1.5 is refused, not rounded."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value} is not a whole number") from None


Whole = Annotated[int, Parameter(converter=whole_number)]
Seed = Annotated[int, Parameter(help="Random seed.", converter=whole_number)]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], Parameter(help="Device; auto: a GPU if available.")
]
Threads = Annotated[int, Parameter(help="CPU threads; 0: torch's choice.", converter=whole_number)]
OPTIONAL_VALUES = {"--equations": ("text", "latex"), "--ray": ("auto",)}
"""Options whose value may be left out, and their values: the first is what is then meant."""


def with_values(arguments: Sequence[str]) -> list[str]:
    """Write the values of `OPTIONAL_VALUES` that are left out.

    They are before a file or a folder, before another option, and at the end.

    >>> from plait.cli.flags import with_values
    >>> with_values(["inspect", "--equations", "."])
    ['inspect', '--equations=text', '.']
    >>> with_values(["compare", "memory", "--ray", "--seeds", "3"])
    ['compare', 'memory', '--ray=auto', '--seeds', '3']
    """
    words = list(arguments)
    for k, word in enumerate(words):
        values, after = OPTIONAL_VALUES.get(word, ()), "".join(words[k + 1 : k + 2])
        if not values or after in values or "\0" in after:
            continue
        if not after or after.startswith("-") or Path(after).exists():
            words[k] = f"{word}={values[0]}"
    return words


On = Annotated[bool, Parameter(negative="")]
Several = Annotated[list[str] | None, Parameter(negative="")]


def with_flags(
    command: Callable[..., None], task: str, own: dict[str, tuple[Any, str, str]], text: str
) -> Callable[..., None]:
    """Return a command with its own flags and those of the task's configuration."""
    parameters = [
        _parameter(name, kind, text, name=f"--{flag}") for name, (kind, flag, text) in own.items()
    ]
    parameters += _flags(config_class(task))
    return _signed(command, parameters, text)


def with_options(
    command: Callable[..., None],
    own: Mapping[str, tuple[Any, str]],
    of_tasks: Mapping[str, Sequence[TaskOption]],
    text: str,
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
    return _signed(command, parameters, text)


def _signed(
    command: Callable[..., None], parameters: Sequence[inspect.Parameter], text: str
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
