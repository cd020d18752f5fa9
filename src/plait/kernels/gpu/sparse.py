"""Products with a sparse matrix over the nodes of a graph, in Triton: nothing waits for the GPU.

So they may be recorded as a CUDA graph. There are no atomics: sums do not depend on the order in
which programs end.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from plait.kernels.gpu.segments import SEGMENT, Segments, cut, merged
from plait.kernels.gpu.triton_here import missing, on_device, power_of_two
from plait.kernels.transforms import outside

COLUMNS = 256
"""Columns of x that one program takes."""

TILE = 2048
"""Numbers of x that a program reads at a time."""


class SparseRows(NamedTuple):
    """A matrix `[N, M]` by its rows."""

    parts: Segments
    sources: Tensor  # [entries], the columns
    values: Tensor  # [entries], float32

    @classmethod
    def of(cls, matrix: Tensor) -> "SparseRows":
        """Take over a CSR matrix of torch, once for each."""
        if matrix not in _known:
            _known[matrix] = outside(lambda: _rows_of(matrix))
        return _known[matrix]

    @classmethod
    def by_node(cls, starts: Tensor, order: Tensor | None) -> "SparseRows":
        """Return the matrix that sums edges `[M]` by node, made once for each `starts [N + 1]`.

        Parameters
        ----------
        starts : Tensor
            Where each node's edges begin.
        order : Tensor `[M]`, or None
            The edges by node; None: so they lie.
        """
        if starts not in _known:
            _known[starts] = outside(lambda: _sums_of(starts, order))
        return _known[starts]

    def multiply(
        self, x: Tensor, plus: Tensor | None = None, minus: Tensor | None = None,
        times: float = 1.0, out: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Return times · S x + plus − minus.

        Parameters
        ----------
        x : Tensor `[T, M, W]`
        plus, minus : Tensor `[T, N, W]`
        times : float
        out : Tensor `[T, N, W]`
            Written to, if it is given.
        """
        from plait.kernels.gpu import sparse_kernels

        kernel: Any = sparse_kernels.multiply
        (T, M, W), N, whole = x.shape, len(self.parts.starts) - 1, self.parts.whole
        out = x.new_empty(T, N, W) if out is None else out
        if not out.numel():
            return out
        slots = len(self.parts.table)
        y = out if whole else x.new_empty(T, slots, W)
        BW = min(COLUMNS, power_of_two(W))
        E = max(1, min(max(8, 256 // BW), TILE // BW))
        with on_device(x):
            kernel[(T * slots * -(-W // BW),)](
                self.parts.table, self.sources, self.values, x, x if plus is None else plus,
                x if minus is None else minus, y, T, slots, N, M, W, times, BW=BW, E=E,
                PLUS=plus is not None, MINUS=minus is not None, WHOLE=whole,
                num_warps=max(1, min(4, E * BW // 512)),
            )  # fmt: skip
        if not whole:
            total = merged(y, self.parts)
            torch.mul(total, times, out=out)
            if plus is not None:
                out += plus
            if minus is not None:
                out -= minus
        return out


_known = WeakIdKeyDictionary()


def _rows_of(matrix: Tensor) -> SparseRows:
    # detached: the values are a view of the matrix, and would keep it for ever
    columns, values = matrix.col_indices().detach(), matrix.values().detach()
    return SparseRows(cut(matrix.crow_indices(), SEGMENT), columns, values.float())


def _sums_of(starts: Tensor, order: Tensor | None) -> SparseRows:
    edges = int(starts[-1])
    every = torch.arange(edges, device=starts.device, dtype=starts.dtype)
    order = every if order is None else order
    return SparseRows(cut(starts, SEGMENT), order, torch.ones_like(every, dtype=torch.float32))


def product(starts: Tensor, columns: Tensor, values: Tensor, x: Tensor) -> Tensor:
    """Return the product of a matrix, given by its rows for this time only, with x `[M, W]`."""
    rows = SparseRows(cut(starts, SEGMENT), columns.contiguous(), values.contiguous())
    return rows.multiply(x.resolve_neg().contiguous()[None])[0]


def can_sum(rows: Tensor) -> bool:
    """Return whether the rows of edges are summed here."""
    return rows.dtype == torch.float32 and rows.device.type == "cuda" and missing() is None


def can_run(matrix: Tensor) -> bool:
    """Return whether products with a matrix are made here."""
    sparse = matrix.layout == torch.sparse_csr and matrix.dtype == torch.float32
    return sparse and matrix.device.type == "cuda" and missing() is None


class SparseShift(NamedTuple):
    """A shift and its transpose."""

    there: SparseRows
    back: SparseRows
