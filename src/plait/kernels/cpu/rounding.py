"""Weights of 16 and 8 bits: what they are rounded to, and how they lie packed for a product."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.kernels.cpu.simd import LANES, WIDTH

Kind = Literal["float32", "bfloat16", "int8"]

PANEL = LANES * WIDTH
"""Columns of a product's tile, or of a part of one with few rows."""


def rounded(weight: Tensor, kind: Kind) -> Tensor:
    """Round a matrix `[outputs, inputs]`; the result is float32 again.

    bfloat16: to the nearest number of 8 significant bits. int8: every row to the nearest of
    s · (−127 … 127), with s the largest absolute value of the row over 127.

    >>> import torch
    >>> from plait.kernels.cpu.rounding import rounded
    >>> rounded(torch.tensor([[1.27, 0.333, -0.008]]), "int8")
    tensor([[ 1.2700,  0.3300, -0.0100]])
    """
    if kind == "bfloat16":
        return weight.bfloat16().float()
    if kind == "int8":
        steps = _steps(weight, 1)
        return (weight / steps).round() * steps
    return weight


def pack(matrix: Tensor, kind: Kind = "float32") -> Tensor:
    """Cut `[K, columns]` into panels `[panels, K, PANEL]`, four or a multiple, zeros behind.

    Of a matrix that was rounded nothing is lost. In bfloat16 a number is the upper half of a
    float32; in int8 a panel begins with its columns' steps, in float32.
    """
    K, columns = matrix.shape
    panels = 4 * -(-columns // (4 * PANEL))
    missing = panels * PANEL - columns
    filled = F.pad(matrix, (0, missing)) if missing else matrix  # else it would copy
    if kind == "int8":
        steps = _steps(filled, 0)
        numbers = (filled / steps).round().to(torch.int8)
        numbers = numbers.unflatten(1, (panels, PANEL)).transpose(0, 1).reshape(panels, K * PANEL)
        heads = steps.reshape(panels, PANEL).contiguous().view(torch.int8)  # [panels, 4 · PANEL]
        return torch.cat([heads, numbers], 1)
    filled = filled.bfloat16() if kind == "bfloat16" else filled
    return filled.view(K, panels, PANEL).transpose(0, 1).contiguous()


def _steps(weight: Tensor, axis: int) -> Tensor:
    largest = weight.abs().amax(axis, keepdim=True)
    return torch.where(largest > 0, largest / 127, 1.0)
