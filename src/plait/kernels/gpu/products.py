"""What an operator makes of a value at a step, and its gradient: one library product or a few.

A linear operator's terms, such as 2 S² − 1, are matrices over the nodes computed beforehand; where
they are dense enough, one product makes them all. Nodes lead, `[N, B, H]`, so that whatever comes
behind them is one width. Any other operator runs in torch, with the gradient that it has there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

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
    shifts: tuple[Shift, ...]  # where they are not
    order: int

    @property
    def count(self) -> int:
        """How many terms have weights."""
        made = len(self.stacked) // self.nodes if self.stacked is not None else 0
        return self.identity + (made or len(self.shifts) * self.order)


def terms(basis: Any, nodes: int) -> Terms:
    """Lay out the basis of an operator: one dense matrix, or shifts that are applied in turn."""
    shifts, order, identity = basis
    if not shifts or not order:
        return Terms(True, nodes, None, (), 0)
    entries = max(s.matrix.count_nonzero() if s.dense else s.matrix.values().numel()
                  for s in shifts)  # fmt: skip
    if nodes > SMALL and int(entries) < DENSE * nodes * nodes:
        return Terms(identity, nodes, None, tuple(shifts), order)
    made = []
    for one in shifts:
        matrix = one.matrix if one.dense else one.matrix.to_dense()
        wide = matrix.double()
        before, last = torch.eye(nodes, dtype=wide.dtype, device=wide.device), wide
        for _ in range(order):
            made.append(last.to(matrix.dtype))
            before, last = last, 2 * wide @ last - before
    return Terms(identity, nodes, torch.cat(made), (), 0)


def expand(terms: Terms, x: Tensor) -> list[Tensor]:
    """Return the terms of x `[N·B, H]`, each as it is."""
    found = [x] if terms.identity else []
    if terms.stacked is not None:
        made = terms.stacked @ x.view(terms.nodes, -1)  # [terms·N, B·H]
        found += made.view(-1, *x.shape).unbind(0)
    for shift in terms.shifts:
        flat = x.view(terms.nodes, -1)
        before, last = flat, shift.matrix @ flat
        found.append(last.view_as(x))
        for _ in range(terms.order - 1):
            following = torch.addmm(before, shift.matrix, last, beta=-1, alpha=2)
            before, last = last, following
            found.append(last.view_as(x))
    return found


def fold(terms: Terms, dz: Tensor) -> Tensor:
    """Sum the gradients of the terms `[M, N·B, H]` to that of x, the shifts transposed."""
    rows, H = dz.shape[1:]
    if terms.stacked is None and not terms.shifts:
        return dz[0]
    parts = list(dz.view(len(dz), terms.nodes, -1).unbind(0))  # each [N, B·H]
    if terms.stacked is not None:
        rest = dz[1:] if terms.identity else dz
        flat = rest.reshape(len(terms.stacked), -1)
        if terms.identity:
            return torch.addmm(parts[0], terms.stacked.T, flat).view(rows, H)
        return (terms.stacked.T @ flat).view(rows, H)
    x = parts.pop(0) if terms.identity else torch.zeros_like(parts[0])
    for shift in terms.shifts:
        own, parts = parts[: terms.order], parts[terms.order :]
        later, last = None, own.pop()  # Clenshaw: b_k = d_k + 2 Sᵀ b_{k+1} − b_{k+2}
        while own:
            plus = own.pop() if later is None else own.pop() - later
            later, last = last, torch.addmm(plus, shift.transposed, last, alpha=2)
        x = torch.addmm(x if later is None else x - later, shift.transposed, last)
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
        """Return the terms of x `[rows, H]` other than x itself, by dense matrices."""
        assert self.terms.stacked is not None
        made = self.terms.stacked @ x.view(self.terms.nodes, -1)  # [terms·N, B·H]
        return made.view(-1, *x.shape)

    def for_gates(self) -> Tensor:
        """Return the weights as kernels read them that multiply the terms, `[M, H, outputs]`."""
        return self.there.float()

    def forward(self, x: Tensor, t: int) -> Tensor:
        """Return what the gates get of x `[rows, H]`."""
        first, *more = expand(self.terms, x)
        out = first.to(self.dtype) @ self.there[0]
        for term, matrix in zip(more, self.there[1:], strict=True):
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
        steps = max(1, CHUNK // max(1, rows * H))
        for first in range(0, T, steps):
            part = values[first : first + steps]
            change = grads[first : first + steps].flatten(0, 1)  # [steps·rows, outputs]
            change = change.to(self.dtype)
            for m, term in enumerate(self._over_time(part)):
                found[:, m] += change.T @ term.reshape(-1, H).to(self.dtype)
        return {"weight": found.flatten(1)}

    def _over_time(self, values: Tensor) -> Sequence[Tensor] | Any:
        """Yield the terms of values `[T, N·B, H]`, one at a time where they are dense."""
        terms = self.terms
        if terms.shifts:
            each = [expand(terms, x) for x in values]
            return [torch.stack(parts) for parts in zip(*each, strict=True)]
        if terms.stacked is None:
            return [values]
        return self._dense_over_time(values, terms.stacked)

    def _dense_over_time(self, values: Tensor, stacked: Tensor) -> Any:
        if self.terms.identity:
            yield values
        flat = values.view(len(values), self.terms.nodes, -1)  # [T, N, B·H]
        for matrix in stacked.split(self.terms.nodes):
            yield matrix @ flat


class TorchProduct:
    """Any operator as it runs in torch, a step at a time.

    Parameters
    ----------
    apply : callable
        The operator's: `apply(value, weights, t)`, value `[B, (N,) H]`.
    weights : mapping of Tensor
    row : sequence of int
        `(N,) H`.
    differentiate : bool
    """

    def __init__(
        self, apply: Callable[[Tensor, Mapping[str, Tensor], int], Tensor],
        weights: Mapping[str, Tensor], row: Sequence[int], differentiate: bool,
    ) -> None:  # fmt: skip
        self.apply, self.row, self.differentiate = apply, row, differentiate
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
        """Return the gradient of x, and add those of the weights up."""
        value, out = self.made[t]
        wanted = [value, *self.leaves.values()]
        found = torch.autograd.grad(
            out, wanted, grad.reshape(out.shape).to(out.dtype), retain_graph=True,
            allow_unused=True,
        )  # fmt: skip
        for change, g in zip(self.changes.values(), found[1:], strict=True):
            if g is not None:
                change += g
        dx = torch.zeros_like(value) if found[0] is None else found[0]
        return dx.reshape(len(grad), -1)

    def begin_backward(self) -> None:
        """Forget the gradients of weights that an earlier pass summed."""
        for change in self.changes.values():
            change.zero_()
