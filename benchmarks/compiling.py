"""How long the code of a new cell takes to compile at its first use, and to load from the disk.

A process of its own each, from before its first training step to the end of it, less a second one;
imports do not count. The folder of generated code is empty at first. What all cells share was
compiled before, as it is after the first use of any.
"""

import os
import subprocess
import sys
import tempfile
from typing import Any

import torch
from measure import seconds
from own_cells import CELLS
from recurrence import B, H, T, training

from plait import Recurrent

FIRST, DISK = 10, 0.2
"""Seconds at first use and from the disk, at most."""


def name(k: int) -> str:
    return f"first use of own cell {type(CELLS[k]).__name__}"


def table(part: str = "") -> list[dict[str, Any]]:
    """Measure the cells whose line's name holds this."""
    lines = []
    for k in range(len(CELLS)):
        if part.lower() in name(k).lower():
            with tempfile.TemporaryDirectory() as shared, tempfile.TemporaryDirectory() as folder:
                _apart(k, shared)
                first, disk = _apart(k, folder), _apart(k, folder)
            lines.append({"what": name(k), "first": first, "disk": disk})
    return lines


def written(lines: list[dict[str, Any]]) -> str:
    """Write the table as Markdown."""
    head = [
        f"| compiling, forward and backward | s, at most {FIRST} | from the disk, at most {DISK} |",
        "|---|---|---|",
    ]
    rows = (f"| {line['what']} | {line['first']:.2f} | {line['disk']:.2f} |" for line in lines)
    return "\n".join([*head, *rows])


def _apart(k: int, folder: str) -> float:
    arguments = [sys.executable, __file__, str(k), str(torch.get_num_threads())]
    environment = os.environ | {"PLAIT_KERNELS": folder}
    shown = subprocess.run(arguments, check=True, capture_output=True, text=True, env=environment)
    return float(shown.stdout)


def main() -> None:
    k, threads = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    layer, x = Recurrent(CELLS[k], H, H), torch.randn(T, B, H)
    step = training(layer, lambda: layer(x)[0])
    print(seconds(step) - seconds(step))


if __name__ == "__main__":
    main()
