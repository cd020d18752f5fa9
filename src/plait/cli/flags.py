"""Flags shared by commands: their types, and values that may be left out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, Token


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
    """Write the values of `OPTIONAL_VALUES` that are left out, and join a value "-" to its option.

    They are left out before a file or a folder, before another option, and at the end. By itself
    "-" would be read as an option.

    >>> from plait.cli.flags import with_values
    >>> with_values(["inspect", "--equations", "."])
    ['inspect', '--equations=text', '.']
    >>> with_values(["compare", "memory", "--ray", "--seeds", "3"])
    ['compare', 'memory', '--ray=auto', '--seeds', '3']
    >>> with_values(["predict", "runs/speeds", "--follow", "-"])
    ['predict', 'runs/speeds', '--follow=-']
    """
    words = list(arguments)
    for k, word in enumerate(words):
        values, after = OPTIONAL_VALUES.get(word, ()), "".join(words[k + 1 : k + 2])
        if not values or after in values or "\0" in after:
            continue
        if not after or after.startswith("-") or Path(after).exists():
            words[k] = f"{word}={values[0]}"
    end = words.index("--") if "--" in words else len(words)
    for k in reversed(range(end - 1)):
        if words[k].startswith("--") and "=" not in words[k] and words[k + 1] == "-":
            words[k : k + 2] = [f"{words[k]}=-"]
    return words


On = Annotated[bool, Parameter(negative="")]
Several = Annotated[list[str] | None, Parameter(negative="")]
