"""What an operator makes of a value at a step, and its gradient: one library product or a few.

A linear operator's terms, such as 2 S² − 1, are matrices over the nodes computed beforehand; where
they are dense enough, one product makes them all, else one of ours makes each (`sparse`). Nodes
lead, `[N, B, H]`, so that whatever comes behind them is one width. Any other operator runs in
torch, with the gradient that it has there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plait.kernels.gpu.sparse import SparseRows, SparseShift
from plait.kernels.sparse import Shift

DENSE = 0.01
"""Share of entries from which a term is a dense matrix: on a GPU a product with it takes 2 N
operations a number at some 50 TFLOP/s, one by edges reads a number an edge at some 1 TB/s."""

SMALL = 256
"""Nodes up to which a term is a dense matrix in any case."""

CHUNK = 2**26
"""Numbers of a term over several steps that are made at a time."""


class Terms(NamedTuple):
    """A linear operator's terms, as matrices over the nodes; none: x alone."""

    identity: bool
    nodes: int
    stacked: Tensor | None  # [terms · N, N], dense
    shifts: tuple[SparseShift, ...]  # where they are not
    order: int

    @property
    def count(self) -> int:
        """How many terms have weights."""
        return self.identity + self.shifted

    @property
    def shifted(self) -> int:
        """How many terms are other than x itself."""
        made = len(self.stacked) // self.nodes if self.stacked is not None else 0
        return made or len(self.shifts) * self.order


def terms(basis: Any, nodes: int) -> Terms:
    """Lay out the basis of an operator: one dense matrix, or shifts that are applied in turn."""
    shifts, order, identity = basis
    if not shifts or not order:
        return Terms(True, nodes, None, (), 0)
    entries = max(s.matrix.count_nonzero() if s.dense else s.matrix.values().numel()
                  for s in shifts)  # fmt: skip
    if nodes > SMALL and int(entries) < DENSE * nodes * nodes:
        return Terms(identity, nodes, None, tuple(map(_by_rows, shifts)), order)
    made = []
    for one in shifts:
        matrix = one.matrix if one.dense else one.matrix.to_dense()
        wide = matrix.double()
        before, last = torch.eye(nodes, dtype=wide.dtype, device=wide.device), wide
        for _ in range(order):
            made.append(last.to(matrix.dtype))
            before, last = last, 2 * wide @ last - before
    return Terms(identity, nodes, torch.cat(made), (), 0)


def _by_rows(shift: Shift) -> SparseShift:
    """Lay a shift out for the kernel of sparse products."""
    there, back = (m.to_sparse_csr() if shift.dense else m for m in shift)
    rows = SparseRows.of(there)
    return SparseShift(rows, rows if back is there else SparseRows.of(back))


def shifted(terms: Terms, x: Tensor) -> Tensor:
    """Return the terms of x `[T, N, W]` other than x itself: `[terms, T, N, W]`."""
    if terms.stacked is not None:
        if len(x) == 1:
            return (terms.stacked @ x[0]).view(terms.shifted, *x.shape)
        return torch.stack([matrix @ x for matrix in terms.stacked.split(terms.nodes)])
    made = x.new_empty(terms.shifted, *x.shape)
    for k, shift in enumerate(terms.shifts):
        before, last = None, x
        for out in made[k * terms.order : (k + 1) * terms.order]:
            times = 1.0 if before is None else 2.0
            before, last = last, shift.there.multiply(last, None, before, times, out)
    return made


def fold(terms: Terms, dz: Tensor) -> Tensor:
    """Sum the gradients of the terms `[M, N·B, H]` to that of x, the shifts transposed."""
    rows, H = dz.shape[1:]
    if not terms.shifted:
        return dz[0]
    width = rows * H // terms.nodes
    parts = list(dz.view(len(dz), 1, terms.nodes, width).unbind(0))  # each [1, N, B·H]
    if terms.stacked is not None:
        rest = dz[1:] if terms.identity else dz
        flat = rest.reshape(len(terms.stacked), width)
        if terms.identity:
            return torch.addmm(parts[0][0], terms.stacked.T, flat).view(rows, H)
        return (terms.stacked.T @ flat).view(rows, H)
    x = parts.pop(0) if terms.identity else None
    for shift in terms.shifts:
        own, parts = parts[: terms.order], parts[terms.order :]
        later, last = None, own.pop()  # Clenshaw: b_k = d_k + 2 Sᵀ b_{k+1} − b_{k+2}
        while own:
            later, last = last, shift.back.multiply(last, own.pop(), later, 2.0)
        x = shift.back.multiply(last, x, later)
    assert x is not None
    return x.view(rows, H)


class LinearProduct:
    """A linear operator, with the weights of one product's gates.

    Parameters
    ----------
    terms : Terms
    weight : Tensor `[outputs, M·H]`
    dtype : torch.dtype
        Of the operands: float32, or autocast's.
    """

    def __init__(self, terms: Terms, weight: Tensor, dtype: torch.dtype) -> None:
        self.terms, self.dtype = terms, dtype
        weight = weight.to(dtype).unflatten(1, (terms.count, -1))  # [outputs, M, H]
        self.there = weight.permute(1, 2, 0).contiguous()  # [M, H, outputs]
        self.back = weight.permute(1, 0, 2).contiguous()  # [M, outputs, H]

    def shifted(self, x: Tensor) -> Tensor:
        """Return the terms of x `[rows, H]` other than x itself, `[terms, rows, H]`."""
        flat = x.view(1, self.terms.nodes, x.numel() // self.terms.nodes)
        return shifted(self.terms, flat).view(self.terms.shifted, *x.shape)

    def folded(self, dz: Tensor) -> Tensor:
        """Return the gradient of x from those of its terms `[M, rows, H]`."""
        return fold(self.terms, dz)

    def forward(self, x: Tensor, t: int) -> Tensor:
        """Return what the gates get of x `[rows, H]`."""
        parts = [x] if self.terms.identity else []
        if self.terms.shifted:
            parts += self.shifted(x).unbind(0)
        out = parts[0].to(self.dtype) @ self.there[0]
        for term, matrix in zip(parts[1:], self.there[1:], strict=True):
            out.addmm_(term.to(self.dtype), matrix)
        return out

    def backward(self, grad: Tensor, t: int) -> Tensor:
        """Return the gradient of x from that of what the gates got."""
        grad = grad.to(self.dtype)
        if len(self.back) == 1:
            return fold(self.terms, (grad @ self.back[0])[None].float())
        return fold(self.terms, torch.matmul(grad, self.back).float())  # [M, rows, H]

    def weights(self, values: Tensor, grads: Tensor) -> dict[str, Tensor]:
        """Return the weights' gradient, of the values `[T, rows, H]` and grads at all steps."""
        T, rows, H = values.shape
        found = values.new_zeros(grads.shape[-1], self.terms.count, H)
        held = max(1, len(self.terms.shifts) * self.terms.order)  # terms at a time
        steps = max(1, CHUNK // max(1, held * rows * H))
        for first in range(0, T, steps):
            part = values[first : first + steps]
            change = grads[first : first + steps].flatten(0, 1)  # [steps·rows, outputs]
            change = change.to(self.dtype)
            for m, term in enumerate(self._over_time(part)):
                found[:, m] += change.T @ term.reshape(-1, H).to(self.dtype)
        return {"weight": found.flatten(1)}

    def _over_time(self, values: Tensor) -> Iterator[Tensor]:
        """Yield the terms of values `[T, N·B, H]`, one at a time where they are dense."""
        terms = self.terms
        if terms.identity:
            yield values
        flat = values.view(len(values), terms.nodes, values[0].numel() // terms.nodes)
        if terms.stacked is not None:
            for matrix in terms.stacked.split(terms.nodes):
                yield matrix @ flat
        elif terms.shifts:
            yield from shifted(terms, flat)


class TorchProduct:
    """Any operator as it runs in torch, a step at a time.

    Parameters
    ----------
    apply : callable
        The operator's: `apply(value, weights, t)`, value `[B, (N,) H]`.
    weights : mapping of Tensor
    row : sequence of int
        `(N,) H`.
    own : sequence of Tensor
        What the operator learns itself.
    differentiate : bool
    """

    def __init__(
        self, apply: Callable[[Tensor, Mapping[str, Tensor], int], Tensor],
        weights: Mapping[str, Tensor], row: Sequence[int], own: Sequence[Tensor],
        differentiate: bool,
    ) -> None:  # fmt: skip
        self.apply, self.row, self.differentiate = apply, row, differentiate
        self.own, self.own_changes = own, [torch.zeros_like(p) for p in own]
        self.leaves = {n: w.detach().requires_grad_(differentiate) for n, w in weights.items()}
        self.made: dict[int, tuple[Tensor, Tensor]] = {}
        self.changes = {n: torch.zeros_like(w) for n, w in weights.items()}

    def forward(self, x: Tensor, t: int) -> Tensor:
        """Return what the gates get of x `[rows, H]`, and keep what its gradient wants."""
        value = x.view(-1, *self.row).clone().requires_grad_(self.differentiate)
        with torch.set_grad_enabled(self.differentiate):
            out = self.apply(value, self.leaves, t)
        if self.differentiate:
            self.made[t] = value, out
        return out.detach().reshape(len(x), -1).contiguous()

    def backward(self, grad: Tensor, t: int) -> Tensor:
        """Return the gradient of x, and add up those of the weights."""
        value, out = self.made[t]
        wanted = [value, *self.leaves.values(), *self.own]
        found = torch.autograd.grad(
            out, wanted, grad.reshape(out.shape).to(out.dtype), retain_graph=True,
            allow_unused=True,
        )  # fmt: skip
        changes = (*self.changes.values(), *self.own_changes)
        for change, g in zip(changes, found[1:], strict=True):
            if g is not None:
                change += g
        dx = torch.zeros_like(value) if found[0] is None else found[0]
        return dx.reshape(len(grad), -1)

    def begin_backward(self) -> None:
        """Forget the gradients of weights that an earlier pass summed."""
        for change in (*self.changes.values(), *self.own_changes):
            change.zero_()
