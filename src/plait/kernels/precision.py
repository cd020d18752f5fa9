"""Mixed precision: what is computed in which type, under autocast and in modules of half precision.

States, sums over time, gates and recurrent products are float32. What comes in is taken as it is
and what goes out is rounded: outputs to autocast's type, or the input's; final states to the type
of the start states, so that under autocast they stay float32 from call to call. The product of the
input side, the largest, is made of numbers of bfloat16, summed in float32 and rounded to bfloat16,
where the processor multiplies these; elsewhere, and for float16 on a CPU, in float32.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.kernels.kernel import Call, State
from plait.kernels.transforms import exactly

HALF = (torch.bfloat16, torch.float16)

MULTIPLIES = torch.backends.mkldnn.is_available() and (  # pyright: ignore[reportAttributeAccessIssue]
    torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
)
"""Whether the processor has instructions for products of bfloat16, and torch uses them."""


def lowered(x: Tensor) -> torch.dtype | None:
    """Return the type of half precision that a call with x asks for, or None.

    >>> import torch
    >>> from plait.kernels.precision import lowered
    >>> lowered(torch.ones(1)), lowered(torch.ones(1).half())
    (None, torch.float16)
    """
    if x.dtype in HALF:
        return x.dtype
    kind = x.device.type
    if x.dtype == torch.float32 and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return None


def described(x: Tensor, *, product: bool = False) -> str:
    """Return the types that a call with x is computed in; `product`: the input's is apart."""
    kind = lowered(x)
    if kind is None:
        return "float32"
    name = str(kind).removeprefix("torch.")
    inner = str(product_type(kind, x.device.type)).removeprefix("torch.")
    side = f", the input product in {inner}" if product and inner != "float32" else ""
    return f"float32{side}, outputs {name}"


def product_type(kind: torch.dtype, device: str) -> torch.dtype:
    """Return the type of the input side's product for a call of half precision."""
    return kind if kind == torch.bfloat16 and (device != "cpu" or MULTIPLIES) else torch.float32


def product(x: Tensor, weight: Tensor, linear: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return x Wᵀ in float32: by `linear`, or in the type of a weight of half precision."""
    if weight.dtype == torch.float32:
        return linear(x, weight)
    return F.linear(x.to(weight.dtype), weight).float()


def run(
    kernel: Callable[[Any, Call], tuple[Tensor, State, State]], layer: Any, call: Call,
    kind: torch.dtype, inner: torch.dtype = torch.float32,
) -> tuple[Tensor, State, State]:  # fmt: skip
    """Run a kernel of float32 for a call of half precision; `inner` is the input product's type."""
    x, start = call.x, call.start
    with exactly(x):
        weights = {
            name: w.to(inner if name == "inputs.weight" else torch.float32)
            for name, w in layer.tensors().items()
        }
        one = layer.bind(weights, training=layer.training)
        wide = call._replace(x=x.float(), start=tuple(s.float() for s in start))
        y, final, every = kernel(one, wide)
        final = tuple(f.to(s.dtype) for f, s in zip(final, start, strict=True))
        return y.to(kind), final, every
