"""The tensors of an operator that is a module: what it learns, and the others.

A pass over time takes them as it takes the layer's weights, so a recording reads what it is given,
not what the module had when it was recorded.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def held_by(operator: Any) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Return the names of what an operator that is a module learns, and its other tensors.

    The former in the order of `parameters_of`, the latter by "held " and their names.
    """
    if not isinstance(operator, nn.Module):
        return (), {}
    own = dict(operator.named_parameters())
    learnt = tuple(name for name, p in own.items() if p.requires_grad)
    others = {n: p for n, p in own.items() if n not in learnt} | dict(operator.named_buffers())
    return learnt, {f"held {name}": t.detach() for name, t in others.items()}


def with_tensors(operator: Any, tensors: Mapping[str, Tensor], work: Callable[[], None]) -> None:
    """Do work while an operator that is a module has these parameters and buffers, by name."""
    if not tensors:
        work()
        return
    named = {f"operator.{name}": t for name, t in tensors.items()}
    torch.func.functional_call(_Holder(operator), named, (work,))


class _Holder(nn.Module):
    def __init__(self, operator: nn.Module) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, work: Callable[[], None]) -> None:
        work()
