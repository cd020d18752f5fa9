"""Names of earlier versions: each still works, and a `DeprecationWarning` names its successor."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

REMOVED_IN = "0.4.0"
"""The version without the names of 0.1.0."""


def warn_renamed(old: str, new: str, stacklevel: int = 3) -> None:
    """Warn that a name is another one now."""
    text = f"{old} is now {new}; the old name will be removed in version {REMOVED_IN}"
    warnings.warn(text, DeprecationWarning, stacklevel=stacklevel)


def renamed_names(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module some of whose names are elsewhere now.

    >>> find = renamed_names("plait.old", {"Layer": "plait.nn.recurrent.Recurrent"})
    >>> with warnings.catch_warnings(record=True, action="always") as given:
    ...     print(find("Layer").__name__, given[0].message)
    Recurrent plait.old.Layer is now plait.nn.recurrent.Recurrent; the old name will be ...
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed(f"{module}.{name}", names[name])
        home, _, today = names[name].rpartition(".")
        return getattr(import_module(home), today)

    return find


class RenamedAttribute:
    """An attribute, or a method, by the name that it had.

    >>> class Layer:
    ...     directions = 2
    ...     strands = RenamedAttribute("directions")
    >>> with warnings.catch_warnings(record=True, action="always") as given:
    ...     print(Layer().strands, given[0].message)
    2 Layer.strands is now Layer.directions; the old name will be removed in version 0.4.0
    """

    def __init__(self, new: str) -> None:
        self.new = new

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner, self.old = owner.__name__, name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        warn_renamed(f"{self.owner}.{self.old}", f"{self.owner}.{self.new}")
        return getattr(instance, self.new)
