"""How exactly the kernels of a GPU multiply, by torch's own switch and autocast."""

import torch

from plait.kernels.kernel import Call

SAID = {
    "ieee": ", products in float32", "tf32": ", products of rounded numbers",
    "tf32x3": ", products of float32 as three of TF32",
}  # fmt: skip
"""What `explain()` says of a kernel's own products."""


def products_in(call: Call) -> str:
    """Return how exactly a kernel's own products are made, by torch's switch and autocast.

    Triton's words: "ieee", "tf32", or "tf32x3", three products of TF32 each, of the numbers' first
    digits and of their rest. An error is then as small as float32's own, on tensor cores.
    """
    kind = call.x.device.type
    said = float32_products()
    if torch.is_autocast_enabled(kind) or (kind == "cuda" and said == "tf32"):
        return "tf32"  # in which the numbers of autocast are multiplied exactly
    return "tf32x3" if said == "none" else "ieee"


def float32_products() -> str:
    """Return what torch's own switch says of products of float32 on a GPU.

    "tf32": of numbers of TF32; "ieee": exactly; "none": nothing, so that an error as small as
    float32's own will do.

    >>> from plait.kernels.gpu.precision import float32_products
    >>> float32_products() in ("none", "ieee", "tf32")
    True
    """
    return str(torch.backends.cuda.matmul.fp32_precision)
