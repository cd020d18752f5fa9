"""Products with a matrix over the nodes of a graph: sparse or dense, forward and backward.

The matrix is no part of what is learned, so a product with it is linear in the features alone and
its gradient is a product with the transposed matrix. Both are built once. The sparse product is
torch's on CSR (MKL on a CPU, where it wants 32-bit indices; cuSPARSE on a GPU), and ours in float32
on a GPU that has Triton (`gpu.sparse`): its sums are the same at each call.
"""

import warnings
from typing import Any, NamedTuple

import scipy.sparse
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from plait.kernels.gpu import sparse as on_gpu
from plait.kernels.transforms import exactly, outside, transformed, wide

DENSE_FROM = 0.2
"""Share of entries that are not zero from which a dense product is the faster one (measured on
two cores: for 100 to 2,000 nodes and widths 64 and 1024 the two cross between 0.1 and 0.3)."""

# torch says once in a process that its CSR tensors are young; said here, to nobody.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0], [], [], (0, 0))


class Shift(NamedTuple):
    """A matrix over the nodes `[N, N]`, and its transpose; both CSR or both dense."""

    matrix: Tensor
    transposed: Tensor

    @property
    def dense(self) -> bool:
        """Whether the products are dense ones."""
        return self.matrix.layout == torch.strided

    def explain(self) -> str:
        """Return whether the matrix is dense or sparse, and why.

        >>> import torch
        >>> from plait.kernels.sparse import shift
        >>> one = torch.tensor([0])
        >>> shift(one, one, torch.ones(1), 10).explain()
        'sparse shift: 1.0 % of 10² entries are not zero, under 20 %'
        """
        N = self.matrix.shape[0]
        full = self.matrix.count_nonzero() if self.dense else self.matrix.values().numel()
        share = float(full) / max(N * N, 1)
        kind, side = ("dense", "from") if self.dense else ("sparse", "under")
        return (
            f"{kind} shift: {share:.1%} of {N}² entries are not zero, {side} {DENSE_FROM:.0%}"
        ).replace("%", " %")


class TracedShift(NamedTuple):
    """A shift as a compiler traces it: of an operator, by its key, on a graph, by its handle."""

    graph: Tensor
    operator: str
    index: int


def shift(rows: Tensor, columns: Tensor, values: Tensor, nodes: int) -> Shift:
    """Build a matrix and its transpose from its entries, no two at one place, in any order."""
    values = values.to(wide(values.dtype))
    if len(values) >= DENSE_FROM * nodes * nodes:
        matrix = values.new_zeros(nodes, nodes)
        matrix[rows, columns] = values
        return Shift(matrix, matrix.T)
    there = _sorted(rows, columns, values, nodes)
    back = _sorted(columns, rows, values, nodes)
    matrix = csr(*there, nodes)
    symmetric = all(map(torch.equal, there, back))
    return Shift(matrix, matrix if symmetric else csr(*back, nodes))


def propagate(
    shift: Shift | TracedShift,
    x: Tensor,
    plus: Tensor | None = None,
    *,
    times: float = 1.0,
    minus: bool = False,
) -> Tensor:
    """Return times · S x + plus, or with `minus` times · S x − plus.

    Parameters
    ----------
    shift : Shift `[N, N]`
    x, plus : Tensor `[N, ...]`
        Whatever comes after the nodes is one width: a batch costs one product. Half precision is
        computed in float32.

    Raises
    ------
    ValueError
        For a type or device other than the matrix's, or another number of nodes; both are named.
    """
    if isinstance(shift, TracedShift):
        return torch.ops.plait.propagate(x, plus, *shift, times, -1.0 if minus else 1.0, False)
    N, kind = shift.matrix.shape[0], shift.matrix.dtype
    for name, t in (("x", x), ("plus", plus)):
        if t is None:
            continue
        if wide(t.dtype) != kind:
            raise ValueError(f"{name} is {t.dtype}, the matrix {kind}; convert one with .to()")
        if t.device != shift.matrix.device:
            raise ValueError(f"{name} is on {t.device}, the matrix on {shift.matrix.device}")
        if t.shape != (N, *x.shape[1:]):
            raise ValueError(f"{name} must be {[N, *x.shape[1:]]}; got shape {list(t.shape)}")
    result = x.dtype if plus is None else torch.promote_types(x.dtype, plus.dtype)
    x, plus = x.to(kind), None if plus is None else plus.to(kind)
    sign = -1.0 if minus else 1.0
    with exactly(x):
        if transformed(x, plus):
            y = times * _product(shift.matrix, x)
            y = y if plus is None else y + sign * plus
        else:
            y: Tensor = _Propagate.apply(x, plus, shift, times, sign)  # pyright: ignore[reportAssignmentType]
    return y.to(result)


def _product(matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply by plain operations, which `torch.func`, `vmap` and compilers can trace."""
    if matrix.layout == torch.strided:
        return F.linear(x.movedim(0, -1), matrix).movedim(-1, 0)  # sizes may be symbols
    rows, columns, values = outside(lambda: _entries(matrix))
    terms = x.index_select(0, columns) * values.view(-1, *[1] * (x.ndim - 1))
    nothing = torch.zeros_like(x, memory_format=torch.contiguous_format)
    return nothing.index_add(0, rows, terms)


def _entries(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows, columns and values of a CSR matrix."""
    counts = matrix.crow_indices().diff().long()
    rows = torch.repeat_interleave(counts, output_size=matrix.values().numel())
    return rows, matrix.col_indices().clone(), matrix.values().clone()


def multiply(x: Tensor, dense: Tensor) -> Tensor:
    """Return the product of sparse features `[N, F]`, which are not learnt, with `dense [F, W]`.

    >>> import torch
    >>> from plait.kernels.sparse import multiply
    >>> multiply(torch.tensor([[0.0, 2.0], [0.0, 0.0]]).to_sparse(), torch.ones(2, 1)).tolist()
    [[2.0], [0.0]]
    """
    if x.requires_grad or transformed(dense) or not on_gpu.can_sum(dense):
        return torch.sparse.mm(x, dense)
    x = x.coalesce()
    return _Multiply.apply(x.indices(), x.values().to(dense.dtype), dense, len(x))  # pyright: ignore[reportReturnType]


class _Multiply(Function):
    """A sparse matrix by its entries in order, times a dense one, in sums of one order."""

    @staticmethod
    def forward(ctx: Any, index: Tensor, values: Tensor, dense: Tensor, nodes: int) -> Tensor:
        ctx.save_for_backward(index, values)
        ctx.columns = len(dense)
        rows, columns = index
        return on_gpu.product(offsets(rows, nodes), columns, values, dense)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        index, values = ctx.saved_tensors
        rows, columns = index
        order = torch.argsort(columns, stable=True)
        starts = offsets(columns, ctx.columns)
        change = on_gpu.product(starts, rows[order], values[order], grads[0])
        return None, None, change, None


def csr(offsets: Tensor, columns: Tensor, values: Tensor, nodes: int) -> Tensor:
    """Return a square CSR matrix of these parts."""
    return torch.sparse_csr_tensor(offsets, columns, values, (nodes, nodes))


def offsets(rows: Tensor, nodes: int) -> Tensor:
    """Return where each row begins, and where the last one ends: `[N + 1]`."""
    counts = torch.bincount(rows, minlength=nodes)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def index_type(nodes: int, entries: int) -> torch.dtype:
    """Return 32-bit indices where they fit."""
    return torch.int32 if max(nodes, entries) < 2**31 else torch.int64


def _sorted(
    rows: Tensor, columns: Tensor, values: Tensor, nodes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return offsets, columns and values in the order of the rows; no entry is there twice."""
    kind = index_type(nodes, len(values))
    if rows.device.type == "cpu":  # counting is many times faster than sorting
        at = rows.to(kind).numpy(), columns.to(kind).numpy()
        found = scipy.sparse.coo_array((values.numpy(), at), (nodes, nodes)).tocsr()
        found.sort_indices()
        parts = (torch.from_numpy(part) for part in (found.indptr, found.indices, found.data))
        starts, columns, values = parts
        return starts.to(kind), columns.to(kind), values
    order = torch.argsort(rows * nodes + columns)
    return offsets(rows, nodes).to(kind), columns[order].to(kind), values[order]


def _by_rows(matrix: Tensor, x: Tensor, plus: Tensor | None, times: float, sign: float) -> Tensor:
    """Return times · S x ± plus by the kernel of a GPU."""
    if plus is not None:
        plus = plus.resolve_neg().flatten(1).contiguous()[None]
    added = (plus, None) if sign > 0 else (None, plus)
    return on_gpu.SparseRows.of(matrix).multiply(x[None], *added, times=times)[0]


class _Propagate(Function):
    """Linear in x and plus, so its own backward is this function again: gradients to any order."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, plus: Tensor | None, shift: Shift, times: float, sign: float
    ) -> Tensor:
        ctx.shift, ctx.times, ctx.sign = shift, times, sign
        flat = x.resolve_neg().flatten(1).contiguous()  # [N, width]
        if on_gpu.can_run(shift.matrix):
            y = _by_rows(shift.matrix, flat, plus, times, sign)
        elif plus is None:
            y = shift.matrix @ flat
            if times != 1:
                y *= times
        else:
            y = torch.addmm(plus.flatten(1), shift.matrix, flat, beta=sign, alpha=times)
        return y.view(x.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (g,) = grads
        x_grad = plus_grad = None
        if ctx.needs_input_grad[0]:
            back = Shift(ctx.shift.transposed, ctx.shift.matrix)
            x_grad = propagate(back, g, times=ctx.times)
        if ctx.needs_input_grad[1]:
            plus_grad = ctx.sign * g
        return x_grad, plus_grad, None, None, None  # pyright: ignore[reportReturnType]
