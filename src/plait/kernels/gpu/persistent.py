"""A cell × a matrix product over all steps in one launch, forward and back, on a GPU.

The kernels are written from the cell's equations (`emit_loops`). The input side is one product
before, the weights' gradient one product after. What a call keeps is what the gradient wants, and
of each product the value that it read.

Rows of a tile and channels of a slice depend on the cell, H and the precision alone, never on the
batch or T: a shape that was not seen before compiles nothing.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from plait.kernels.cpu.phases import parameters_of
from plait.kernels.gpu.emit_loops import WrittenLoops
from plait.kernels.gpu.emit_phase import Phase
from plait.kernels.gpu.over_time import OverTime, run_over_time
from plait.kernels.gpu.precision import SAID, products_in
from plait.kernels.gpu.recorded import Recordings
from plait.kernels.gpu.triton_here import UNPROVED, power_of_two, refusal, written
from plait.kernels.kernel import Call, State
from plait.kernels.program import Product, Program

WIDEST, WIDEST_EXACT, WIDEST_WHOLE = 512, 256, 128
"""Channels H at most: in TF32, in float32, and of cells that want statistics of a row, which one
program computes. With more the kernels spill registers."""

NARROW = 128
"""Channels up to which products in float32 itself are not slower than three of TF32 each."""

CHANNELS = 16
"""Of a slice."""

SHARED = 96 * 1024
"""Bytes of shared memory that any GPU has from compute capability 8 on, about."""


class TritonLoops:
    """Any cell that can be traced × a matrix product: all steps in one kernel.

    Parameters
    ----------
    device : str
        Where it runs; a CPU by Triton's interpreter, in tests.
    recordings : Recordings
        None: none yet.
    """

    name = "plait-gpu"

    def __init__(self, device: str = "cuda", recordings: Recordings | None = None) -> None:
        self.device = device
        self.recordings = recordings or Recordings()

    def accepts(self, layer: Any, call: Call) -> str | None:
        """Accept float32 on a GPU, for a cell that can be traced × a matrix product."""
        if call.unroll:
            return "the states of every step are asked for"
        reason = refusal(call.x, self.device)
        if reason is not None:
            return reason
        program = layer.program(dropped=call.dropout > 0)
        if isinstance(program, str):
            return program
        plain = layer.basis_of is not None and getattr(layer.operator, "check", None) is None
        plain = plain and not parameters_of(layer.operator)
        if not plain or (layer.recurrent and list(layer.recurrent) != ["weight"]):
            return f"{layer.operator!r} is no matrix product of a row"
        H = layer.hidden_size
        products, whole = products_of(program, H, call), WrittenLoops.of(program).whole_rows
        exact = products != "tf32"
        most = WIDEST_WHOLE if whole else WIDEST_EXACT if exact else WIDEST
        if most < H and (whole or program.products):
            of = "a cell with statistics of a row" if whole else "float32" if exact else "TF32"
            return f"{H} channels are more than {most}, the most of {of}"
        shape = shape_of(program, H, products)
        there = shared_on(call.x.device)
        if shape.waits and programs_on(call.x.device) < shape.slices:
            return f"its {shape.slices} slices need as many multiprocessors"
        if shape.shared > there:
            return f"its weights need {shape.shared:,} bytes of shared memory of {there:,}"
        return None

    def describe(self, layer: Any, call: Call) -> str:
        """Return what it is."""
        program = layer.program(dropped=call.dropout > 0)
        kind = SAID[products_of(program, layer.hidden_size, call)] if program.products else ""
        return f"all steps of {layer.cell!r} in one Triton kernel{kind} ({UNPROVED})"

    def source(self, layer: Any) -> str:
        """Return the source that is written for a layer."""
        program = layer.program(dropped=False)
        return program if isinstance(program, str) else WrittenLoops.of(program).source

    def run(self, layer: Any, call: Call) -> tuple[Tensor, State, State]:
        """Compute the input side, then run over time."""
        return run_over_time(layer, call, WrittenLoops.of, self.recordings, Loops)


class Shape:
    """How a call is cut: rows of a tile, channels of a slice, and how a product is split.

    Parameters
    ----------
    H : int
    gates : int
        Of all products together.
    whole_rows : bool
        Whether one program has all channels.
    products : str
        How exactly they are made, in Triton's words.

    `waits` says whether the slices of a tile wait for one another; without products they need not.
    `shared` is about how many bytes of shared memory a program takes: the slice of the weights, and
    the rows that are multiplied with it.
    """

    def __init__(self, H: int, gates: int, *, whole_rows: bool, products: str) -> None:
        wide = max(16, power_of_two(H))
        one = whole_rows or wide <= CHANNELS
        free = not gates and not whole_rows
        self.waits = not one and not free
        self.BH = CHANNELS if self.waits else min(32, wide) if free else wide
        self.slices = -(-H // self.BH)
        held = gates * wide * self.BH if self.waits else 0
        self.warps = 8 if held > 12_000 or (one and wide > 64) else 4
        self.split = min(self.warps, wide // 16) if self.waits else 1
        self.BK = wide // self.split if self.waits else min(32, wide)
        if self.waits:
            self.BR = 8 if products == "ieee" else 16  # tensor cores take no fewer
            numbers = held + self.BR * wide
        else:
            self.BR = 4 if free else 8 if wide > 64 else 16
            numbers = self.BK * (self.BH + self.BR)
        parts = 2 if products == "tf32x3" and self.waits else 1  # first digits, and the rest
        self.shared = 4 * numbers * parts + 2048


@cache
def _shape(H: int, gates: int, whole_rows: bool, products: str) -> Shape:
    return Shape(H, gates, whole_rows=whole_rows, products=products)


def shape_of(program: Program, H: int, products: str) -> Shape:
    """Return how calls of a program are cut."""
    gates = sum(len(p.gates) for p in program.products)
    return _shape(H, gates, WrittenLoops.of(program).whole_rows, products)


def products_of(program: Program, H: int, call: Call) -> str:
    """Return how exactly products are made: of float32, in float32 itself where that is better.

    On an H100 a prototype of it was faster for few channels, and for cells with one product upon
    another, whose products are small. It takes half the shared memory, too, which a card may not
    have.
    """
    found = products_in(call)
    if found != "tf32x3":
        return found
    narrow = H <= NARROW or program.stages > 1 or WrittenLoops.of(program).whole_rows
    fits = shape_of(program, H, found).shared <= shared_on(call.x.device)
    return "ieee" if narrow or not fits else found


def shared_on(device: torch.device) -> int:
    """Return how many bytes of shared memory a program has."""
    if device.type != "cuda":
        return SHARED
    return torch.cuda.get_device_properties(device).shared_memory_per_block_optin


def programs_on(device: torch.device) -> int:
    """Return how many programs a device surely runs at once: one for each multiprocessor."""
    if device.type != "cuda":
        return 2**31
    return torch.cuda.get_device_properties(device).multi_processor_count


class Loops(OverTime):
    """One call: one launch forward and one back, or as many as the batch's tiles take."""

    code: WrittenLoops

    def __init__(
        self, layer: Any, call: Call, code: WrittenLoops, mask: Tensor | None,
        tensors: Sequence[Tensor],
    ) -> None:  # fmt: skip
        super().__init__(layer, call, code, mask, tensors)
        self.products = products_of(code.program, self.sizes.H, call)
        self.shape = shape_of(code.program, self.sizes.H, self.products)

    def tile_back(self) -> tuple[int, int]:
        """Return the rows and channels of a tile."""
        return self.shape.BR, self.shape.BH

    def advance(
        self, arrays: dict[str, Tensor], weights: Mapping[str, Tensor], lengths: Tensor
    ) -> Any:
        """Run over time, and return the products' weights."""
        _, _, rows, H = self.sizes
        for p in self.code.program.products:
            arrays[f"recurrent {p.index}"] = arrays["y"].new_empty(rows, len(p.gates) * H)
        held = {
            f"weights {p.index}": self.rows_of(weights, p.gates)["weight"].float().contiguous()
            for p in self.code.program.products
        }  # [gates·H, H]
        self._launch(self.code.all_forward, arrays | held, lengths, backwards=False)
        return held

    def go_back(
        self, arrays: dict[str, Tensor], products: Any, given: Mapping[int, Tensor],
        lengths: Tensor,
    ) -> None:  # fmt: skip
        """Run back over time."""
        self._launch(self.code.all_backward, arrays | products, lengths, backwards=True)

    def weight_changes(
        self, p: Product, products: Any, arrays: Mapping[str, Tensor], given: Tensor
    ) -> Mapping[str, Tensor]:
        """Return the gradient of a product's weights, of all steps in one product."""
        flat = self.values(p, arrays).flatten(0, 1).to(self.dtype)  # [T·rows, H]
        return {"weight": (given.flatten(0, 1).to(self.dtype).T @ flat).float()}

    def _launch(
        self, phase: Phase, arrays: Mapping[str, Tensor], lengths: Tensor, *, backwards: bool
    ) -> None:
        """Run a kernel over all steps, or in Triton's interpreter part by part."""
        T, _, rows, H = self.sizes
        if not rows:
            return
        shape, x = self.shape, arrays["input"]
        tiles = -(-rows // shape.BR)
        sync = torch.zeros(tiles, dtype=torch.int32, device=x.device)
        kernel = getattr(written(self.code.source), phase.name)
        streams = [arrays[name] for name in phase.streams]
        options: dict[str, Any] = {
            "H": H, "BH": shape.BH, "BR": shape.BR, "BK": shape.BK, "SPLIT": shape.split,
            "SLICES": shape.slices if shape.waits else 1, "LENGTHS": self.has_lengths,
            "KEEP": self.differentiate, **self.precision(),
        }  # fmt: skip
        parts = [(0, T, -1)]
        if x.is_cuda:
            options |= {"num_warps": shape.warps, "num_stages": 1}
            options["launch_cooperative_grid"] = shape.waits
        elif shape.waits:
            order = range(T - 1, -1, -1) if backwards else range(T)
            parts = [(t, t + 1, k) for t in order for k in range(self.code.program.stages + 1)]
        most = max(1, programs_on(x.device) // shape.slices) if shape.waits else tiles
        for first in range(0, tiles, most):
            grid = (min(most, tiles - first), shape.slices)
            for t0, t1, k in parts:
                kernel[grid](t0, t1, first, rows, lengths, sync, *streams, SEGMENT=k, **options)
