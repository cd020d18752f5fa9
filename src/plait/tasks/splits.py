"""`Splits`: what is trained on, what weights are chosen on, and what is tested on."""

from typing import Generic, NamedTuple, TypeVar

Part = TypeVar("Part")


class Splits(NamedTuple, Generic[Part]):
    """The three parts of a task's data."""

    train: Part
    valid: Part
    test: Part
