"""The operations of a program as expressions of Triton, on tiles of rows × channels."""

import re
from collections.abc import Mapping, Sequence
from keyword import iskeyword

from plait.kernels.program import Node

HEAD = '''"""{title}

Written by Plait from the cell's equations; a change here is written over.
"""

import triton
import triton.language as tl

'''

FUNCTIONS = '''
@triton.jit
def tanh(x):
    """Near 0 by its series, which keeps small numbers' digits."""
    e = tl.exp(-2.0 * tl.abs(x))
    far = (1.0 - e) / (1.0 + e)
    s = x * x
    near = x + x * s * (-1 / 3 + s * (2 / 15 + s * (-17 / 315 + s * (62 / 2835))))
    return tl.where(tl.abs(x) < 0.25, near, tl.where(x < 0, -far, far))


@triton.jit
def maximum(a, b):
    return tl.where((a > b) | (a != a), a, b)


@triton.jit
def minimum(a, b):
    return tl.where((a < b) | (a != a), a, b)
'''
"""What Triton lacks: tanh, and a maximum and a minimum that propagate NaN."""


def module(title: str, functions: Sequence[str]) -> str:
    """Return the source of a module with these functions."""
    return HEAD.format(title=title) + FUNCTIONS + "".join(f"\n\n{f}\n" for f in functions)


def expression(node: Node, args: Sequence[str]) -> str:
    """Return a node's value, of its arguments by their names; leaves that are numbers too."""
    match node.op:
        case "const":
            value = repr(float(node.value))
            return value if value.lstrip("-")[0].isdigit() else f'float("{value}")'
        case "per_width":
            return f"1.0 / ({node.value} * H)"
        case "rowsum":
            parts = [
                f"tl.sum(tl.where(inside, {name}, 0.0), axis=1)[:, None]"
                if not arg.row
                else f"H * {name}"
                for name, arg in zip(args, node.args, strict=True)
            ]
            return " + ".join(parts)
        case "neg":
            return f"-{args[0]}"
        case "detach":
            return args[0]
        case "where":
            return f"tl.where({args[0]} != 0, {args[1]}, {args[2]})"
        case "relu":
            return f"maximum({args[0]}, 0.0)"
        case "tanh" | "maximum" | "minimum":
            return f"{node.op}({', '.join(args)})"
        case op if op in _SYMBOLS:
            text = f" {_SYMBOLS[op]} ".join(args)
            return f"({text}).to(tl.float32)" if op in _COMPARED else text
        case op:
            return f"tl.{op}({', '.join(args)})"


_COMPARED = ("gt", "ge", "lt", "le", "eq", "ne")
_SYMBOLS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/",
    "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!=",
}  # fmt: skip


def identifier(name: str) -> str:
    """Return a name as a variable may be called.

    >>> from plait.kernels.gpu.expressions import identifier
    >>> identifier("kept rows"), identifier("vector α")
    ('kept_rows', 'vector_u3b1')
    """
    return re.sub(r"[^A-Za-z0-9_]", lambda m: "_" if m[0] == " " else f"u{ord(m[0]):x}", name)


def names_of(nodes: Sequence[Node], calls: Mapping[int, str]) -> dict[int, str]:
    """Name values as the cell's code does, where it can be."""
    names: dict[int, str] = {}
    for k, node in enumerate(nodes):
        called = calls.get(node.number, "")
        plain = called.isidentifier() and called.isascii() and not iskeyword(called)
        names[node.number] = f"{called}_{k}" if plain and node.args else f"v_{k}"
    return names
