"""The text of `Recurrent.explain`: which kernel runs each layer, and why no faster one."""

from typing import Any

import torch
from torch import Tensor

from plait.kernels.kernel import Call, Choice
from plait.kernels.library import choose_compiled
from plait.nn.graph import Graph


def explain(layer: Any, graph: Graph | None, *, source: bool) -> str:
    """Describe the kernels of a `Recurrent`, layer by layer."""
    describe: Any = getattr(layer.operator, "explain", None)
    lines: list[str] = []
    for k in range(layer.layers):
        one = layer.directions[k * layer.num_directions]
        width = layer.hidden_size * layer.num_directions if k else layer.input_size
        x = _like(one, width)
        plain = layer.choice(k, x)
        padded = layer.choice(k, x, lengths=torch.ones(1, dtype=torch.long))
        line = f"layer {k}: {_described(plain, one, x)}"
        if padded.kernel is not plain.kernel:
            line += f"; with lengths: {_described(padded, one, x)}"
        lines.append(line)
        reasons = dict.fromkeys(reason for _, reason in plain.passed_over)
        for reason in reasons:
            names = [name for name, other in plain.passed_over if other == reason]
            lines.append(f"  not {', '.join(names)}: {reason}")
        compiled = choose_compiled([k.name for k in layer.kernels], one, Call(x, ()))
        if compiled.kernel.name != plain.kernel.name:
            text = compiled.kernel.describe(one, Call(x, ()))
            lines.append(f"  under torch.compile: {text}")
        if describe is not None:
            for side, inputs, gates in (
                ("input", width, one.gates),
                ("recurrent", layer.hidden_size, one.recurrent_gates),
            ):
                if gates:
                    text = describe(inputs, len(gates) * layer.hidden_size, graph)
                    lines.append(f"  {side} side: {text}")
        written: Any = getattr(plain.kernel, "source", None)
        if source and written is not None:
            lines.append(written(one))
    return "\n".join(lines)


def kernel_of(layer: Any, index: int) -> str:
    """Describe the kernel that runs one layer of a `Recurrent`."""
    one = layer.directions[index * layer.num_directions]
    x = _like(one, layer.hidden_size * layer.num_directions if index else layer.input_size)
    return _described(layer.choice(index, x), one, x)


def _described(choice: Choice, one: Any, x: Tensor) -> str:
    return f"{choice.kernel.name} - {choice.kernel.describe(one, Call(x, ()))}"


def _like(one: Any, width: int) -> Tensor:
    """Return an input of the layer's type, on its device."""
    weight = next(one.parameters(), None)
    return torch.empty(1, 1, width) if weight is None else weight.new_empty(1, 1, width)
