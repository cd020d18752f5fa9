"""A linear operator's basis on a CPU: its tables, and products with it outside the loops."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from plait.kernels.cpu.basis import Basis, expand_basis_backward_of, expand_basis_of
from plait.kernels.cpu.jit import empty_f32
from plait.kernels.cpu.matmul import multiplied, summed_outer
from plait.kernels.cpu.rounding import pack
from plait.kernels.cpu.simd import ROWS
from plait.kernels.sparse import Shift
from plait.kernels.transforms import transformed

BLOCK = 64
"""Rows that run through time together at most, unless a graph has more."""

DENSE = 0.7
"""Share of a shift's entries that are not 0 above which the whole matrix is faster, as measured."""


class Filters(NamedTuple):
    """The basis of a linear operator, that of its gradient, and what holds their numbers."""

    basis: Basis
    transposed: Basis
    held: tuple[Tensor, ...]


@lru_cache(16)
def product_alone(nodes: int) -> Filters:
    """Return the basis of a matrix product, without a graph: x itself."""
    return filters((), 0, True, nodes)


def filters(shifts: tuple[Shift, ...], order: int, identity: bool, nodes: int) -> Filters:
    """Stack the shifts of an operator, each applied up to `order` times."""
    shifts = shifts if order else ()
    width = 1 + order * len(shifts)
    weighted = width if identity else width - 1
    there = _stacked([s.matrix for s in shifts], nodes)
    back = _stacked([s.transposed for s in shifts], nodes)
    basis, transposed = (
        Basis(nodes, width, weighted, len(shifts), *map(Tensor.data_ptr, side))
        for side in (there, back)
    )
    return Filters(basis, transposed, (*there, *back))


def _stacked(matrices: list[Tensor], nodes: int) -> tuple[Tensor, ...]:
    """Return several matrices: offsets `[shifts, N + 1]`, columns, values, dense if they are."""
    parts = [m if m.layout == torch.sparse_csr else m.to_sparse_csr() for m in matrices]
    offsets = torch.zeros(len(parts), nodes + 1, dtype=torch.int32)
    for k, part in enumerate(parts):
        offsets[k] = part.crow_indices() + (offsets[k - 1, -1] if k else 0)
    columns = torch.cat([torch.zeros(0, dtype=torch.int32), *(p.col_indices() for p in parts)])
    values = torch.cat([torch.zeros(0), *(p.values() for p in parts)])
    dense = torch.zeros(0)
    if len(values) > DENSE * len(parts) * nodes**2:
        dense = torch.stack([m.to_dense() for m in matrices])
    return offsets, columns.int(), values, dense


def members(count: int, nodes: int) -> int:
    """Cut so many members of a batch into blocks, enough for all threads."""
    rows = min(BLOCK, -(-count * nodes // torch.get_num_threads()))
    tile = min(ROWS, 4)  # of a product, the next to the largest
    tile = ROWS if rows > tile else tile
    return max(1, -(-rows // tile) * tile // nodes)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Return x Wᵀ, to be differentiated to any order."""
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Linear.apply(x, weight)  # pyright: ignore[reportReturnType]
    return _product(x, weight)


def _product(x: Tensor, weight: Tensor) -> Tensor:
    y = multiplied(x.flatten(0, -2), pack(weight.T), len(weight))
    return y.view(*x.shape[:-1], len(weight))


def expanded(x: Tensor, filters: Filters) -> Tensor:
    """Put the basis of x `[..., N, F]` side by side, to be differentiated to any order."""
    if filters.basis.width == 1:
        return x
    return _Expand.apply(x, filters, False)  # pyright: ignore[reportReturnType]


def folded(dz: Tensor, filters: Filters) -> Tensor:
    """Return the gradient by x of what `expanded` puts side by side, from that of the result."""
    if filters.basis.width == 1:
        return dz
    return _Expand.apply(dz, filters, True)  # pyright: ignore[reportReturnType]


class _Linear(Function):
    """Both gradients are products too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight = ctx.saved_tensors
        rows = x.flatten(0, -2)
        if torch.is_grad_enabled() or transformed(grads[0]):
            dy = grads[0].reshape(-1, len(weight))
            return (dy @ weight).reshape(x.shape), dy.T @ rows
        dy = grads[0].flatten(0, -2).contiguous()
        dx = None
        if ctx.needs_input_grad[0]:
            dx = multiplied(dy, pack(weight), x.shape[-1]).view(x.shape)
        return dx, summed_outer(dy, rows)


class _Expand(Function):
    """Linear in x; its gradient is the same the other way, to be summed in place of stacked."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Filters, back: bool) -> Tensor:
        ctx.filters, ctx.back = filters, back
        rows = x.flatten(0, -2)
        y = _summed(rows, filters.transposed) if back else _stack(rows, filters.basis)
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if transformed(grads[0]):
            return _plainly(grads[0], ctx.filters, back=not ctx.back), None, None
        return _Expand.apply(grads[0], ctx.filters, not ctx.back), None, None  # pyright: ignore[reportReturnType]


def _plainly(x: Tensor, filters: Filters, *, back: bool) -> Tensor:
    """Do what `_Expand` does by operations of torch, with whole matrices."""
    basis, (offsets, columns, values, *_) = filters.basis, filters.held
    N = basis.nodes
    terms = [torch.eye(N)] if basis.weighted == basis.width else []
    for k in range(basis.shifts):
        first, last = int(offsets[k, 0]), int(offsets[k, -1])
        place = offsets[k] - first, columns[first:last], values[first:last]
        matrix = torch.sparse_csr_tensor(*place, (N, N)).to_dense()
        before, now = torch.eye(N), matrix
        for _ in range((basis.width - 1) // basis.shifts):
            terms.append(now)
            before, now = now, 2 * matrix @ now - before
    stacked = torch.stack(terms)  # [terms, N, N]
    if back:
        parts = x.reshape(*x.shape[:-1], len(terms), -1).movedim(-2, -3)  # [..., terms, N, F]
        return (stacked.transpose(1, 2) @ parts).sum(-3)
    found = (stacked @ x.unsqueeze(-3)).movedim(-3, -2)  # [..., N, terms, F]
    return found.reshape(*x.shape[:-1], -1)


def _stack(x: Tensor, basis: Basis) -> Tensor:
    """Put the terms of x `[rows, F]` side by side: `[rows, weighted · F]`."""
    rows, F = x.shape
    z = empty_f32(rows, basis.width * F)
    z[:, :F] = x
    table = np.array(basis, np.int64)
    expand_basis_of(rows // basis.nodes, 0, table.ctypes.data, z.data_ptr(), F)
    return z[:, (basis.width - basis.weighted) * F :]


def _summed(dz: Tensor, basis: Basis) -> Tensor:
    """Sum the terms `[rows, weighted · F]` with the shifts transposed: `[rows, F]`."""
    F, count = dz.shape[1] // basis.weighted, len(dz) // basis.nodes
    dz = dz.resolve_neg().clone(memory_format=torch.contiguous_format)
    x, table = dz.new_zeros(len(dz), F), np.array(basis, np.int64)
    expand_basis_backward_of(count, 0, table.ctypes.data, dz.data_ptr(), x.data_ptr(), F)
    return x
