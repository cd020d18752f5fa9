"""Recurrent layers that record what gradients are asked of: states, products, activations."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from plait.kernels.reference import Reference
from plait.nn.cell import Cell, RecurrentSide, State
from plait.nn.layer import Layer
from plait.nn.recurrent import Recurrent

CLOSED, OPEN = 0.1, 0.9
"""A gate is saturated below the one and above the other (Karpathy et al. 2016)."""


class RecordingCell(Cell):
    """A cell that steps as another does, and records what gradients are asked of later.

    States are passed on as copies, so that the gradient of one does not pass through the others of
    the same step.

    Attributes
    ----------
    states_seen : list of State
        The new states of every step.
    products : list of Tensor
        The result of every `recurrent` call, in order.
    calls : list of lists
        For every step, the arguments of its `recurrent` calls.
    recurrent : callable
        The layer's `recurrent`.
    activations : SigmoidCounter
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.gates, self.states, self.vectors = cell.gates, cell.states, cell.vectors
        self.states_seen: list[State] = []
        self.products: list[Tensor] = []
        self.calls: list[list[tuple[Tensor, Sequence[str] | None]]] = []
        self.recurrent: RecurrentSide | None = None
        self.activations = SigmoidCounter()

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Compute one step of the cell, and record it.

        Raises `ValueError` if the layer runs a second time, or over several graphs.
        """
        if self.recurrent is not None and recurrent is not self.recurrent:
            raise ValueError(
                "the model runs a recurrent layer more than once, or over several graphs"
            )
        self.recurrent = recurrent
        calls: list[tuple[Tensor, Sequence[str] | None]] = []

        def recorded(tensor: Tensor, gates: Sequence[str] | None = None) -> Tensor:
            product = recurrent(tensor, gates)
            calls.append((tensor, gates))
            self.products.append(product)
            return product

        with self.activations:
            new = self.cell.step(x_gates, recorded, state, vectors)
        self.calls.append(calls)
        self.states_seen.append(tuple(s.clone() for s in new))
        return self.states_seen[-1]


class SigmoidCounter(TorchFunctionMode):
    """Counts the results of σ: those near 0, those near 1, and all."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = self.opened = self.all = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function; count the result if it is σ."""
        result = func(*args, **(kwargs or {}))
        if func in (torch.sigmoid, torch.Tensor.sigmoid, torch.special.expit):
            self.closed += int((result < CLOSED).sum())
            self.opened += int((result > OPEN).sum())
            self.all += result.numel()
        return result


def record(recurrent: Recurrent) -> list[tuple[str, Layer, RecordingCell]]:
    """Replace the cell of every direction by a recording one, run by the reference kernel.

    Returns the name of each, "layer 0" or "layer 0 reversed", with its layer and cell.
    """
    recorded = []
    recurrent.cell, recurrent.kernels = RecordingCell(recurrent.cell), [Reference()]
    for k, layer in enumerate(recurrent.directions):
        assert isinstance(layer, Layer)
        depth, reverse = divmod(k, recurrent.num_directions)
        layer.cell = cell = RecordingCell(layer.cell)
        recorded.append((f"layer {depth}" + (" reversed" if reverse else ""), layer, cell))
    return recorded


def recurrent_gradients(
    layer: Layer, cell: RecordingCell, gradients: Mapping[int, Tensor]
) -> list[list[Tensor]]:
    """Return ∂L/∂W_hh step by step: the term of the weights' use at that step alone.

    `gradients` has those of the recorded products, by `id`. Each product is computed again from
    its detached input, so its gradient depends on no earlier step.
    """
    weights = list(layer.recurrent.values())
    products = iter(cell.products)
    terms = []
    assert cell.recurrent is not None
    for calls in cell.calls:
        term = [torch.zeros_like(w) for w in weights]
        for tensor, gates in calls:
            product = cell.recurrent(tensor.detach(), gates)
            found = torch.autograd.grad(
                product, weights, gradients[id(next(products))], retain_graph=True,
                allow_unused=True,
            )  # fmt: skip
            term = [t if g is None else t + g for t, g in zip(term, found, strict=True)]
        terms.append(term)
    return terms
