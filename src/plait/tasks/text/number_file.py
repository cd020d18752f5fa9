"""A file of numbers of which it is not known before how many there are, nor how large."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

KINDS = (np.uint8, np.int16, np.int32)
"""Of numbers in a file: the first that holds all."""

BLOCK = 2**22
"""Numbers that are read at a time."""


class NumberFile:
    """Writes numbers into a file, in as few bytes each as they need."""

    def __init__(self, path: Path) -> None:
        self.path, self.kind, self.count = path, KINDS[0], 0
        self._file = path.open("wb")

    def __enter__(self) -> "NumberFile":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def append(self, numbers: np.ndarray) -> None:
        """Write more numbers."""
        kind = _kind(int(numbers.max(initial=0)))
        if np.dtype(kind).itemsize > np.dtype(self.kind).itemsize:
            self._rewrite(kind, lambda block: block)
        self._file.write(numbers.astype(self.kind).tobytes())
        self.count += len(numbers)

    def counts(self, first: int, most: int) -> np.ndarray:
        """Count each of `most` numbers among the first ones."""
        found = np.zeros(most, np.int64)
        for block in self._blocks(first):
            found += np.bincount(block, minlength=most)
        return found

    def renumber(self, table: np.ndarray, most: int) -> None:
        """Write every number's entry in a table, of `most` different ones."""
        if len(table) != most or (table != np.arange(len(table))).any():
            self._rewrite(_kind(most - 1), lambda block: table[block])

    def _rewrite(self, kind: Any, function: Callable[[np.ndarray], np.ndarray]) -> None:
        other = self.path.with_name("other")
        with other.open("wb") as file:
            for block in self._blocks(self.count):
                file.write(function(block).astype(kind).tobytes())
        self._file.close()
        other.replace(self.path)
        self.kind, self._file = kind, self.path.open("ab")

    def _blocks(self, most: int) -> Iterator[np.ndarray]:
        self._file.flush()
        with self.path.open("rb") as file:
            while most > 0 and len(block := np.fromfile(file, self.kind, min(BLOCK, most))):
                most -= len(block)
                yield block


def _kind(most: int) -> Any:
    return next(kind for kind in KINDS if most <= np.iinfo(kind).max)
