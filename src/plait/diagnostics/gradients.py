"""How the gradient of the last step's loss flows back through time.

A network learns what to remember of step t only from ∂L^(T)/∂h^(t). Where that vanishes, nothing so
far back is learnt; where it explodes, nothing at all.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.diagnostics.recording import CLOSED, OPEN, RecordingCell, record, recurrent_gradients
from plait.nn.layer import Layer
from plait.nn.operators import Dense
from plait.nn.recurrent import Recurrent

REMEMBERED = 0.01
"""Memory ends where less than this share of the last step's gradient is left."""

EXPLODED = 100.0
"""A gradient that has grown by more than this factor has exploded."""

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LayerFlow:
    """Gradient flow in one layer and direction; steps in the order of reading.

    Attributes
    ----------
    name : str
        "layer 0", or "layer 0 reversed".
    norms : mapping of Tensor `[T]`
        For each of the cell's states s: ‖∂L^(T)/∂s^(t)‖ over the whole batch, with the other
        states held constant. In an LSTM most of it flows through c.
    flow : Tensor `[T]`
        Norm of all states' gradients together, √Σ_s ‖∂L^(T)/∂s^(t)‖².
    recurrent : float
        ‖∂L^(T)/∂W_hh‖, of all recurrent weights; 0 for a cell that has none.
    shares : Tensor `[T]`
        ∂L^(T)/∂W_hh is a sum over the steps at which W_hh was used: each one's norm as a share of
        the sum of all norms; 0 for a cell that has no recurrent weights.
    radius : mapping of float
        Spectral radius of each gate's recurrent matrix; empty for operators other than `Dense`.
    closed, opened : float or None
        Shares of σ-gate activations below 0.1 and above 0.9; None for cells without.
    zero_output : bool
        Whether the weights of the output layer are all zero, which lets no gradient through.
    has_recurrent : bool
        Whether the cell has recurrent weights.
    """

    name: str
    norms: Mapping[str, Tensor]
    flow: Tensor
    recurrent: float
    shares: Tensor
    radius: Mapping[str, float]
    closed: float | None
    opened: float | None
    zero_output: bool = False
    has_recurrent: bool = True

    @property
    def memory(self) -> int | None:
        """Steps back at which the flow is first below 1 % of the last step's; None: nowhere."""
        if not self.flow[-1]:
            return 0
        below = (self.flow < REMEMBERED * self.flow[-1]).flip(0).nonzero()
        return int(below[0]) if len(below) else None

    @property
    def verdict(self) -> str:
        """One of "vanishing", "exploding", "healthy"; "none yet" where the output is zero."""
        if self.zero_output and not self.flow.any():
            return "none yet"
        last = float(self.flow[-1])
        if not bool(self.flow.isfinite().all()) or float(self.flow.max()) > EXPLODED * last:
            return "exploding"
        return "healthy" if self.memory is None else "vanishing"

    def explain(self) -> str:
        """Return in plain words what the flow means, and what to try."""
        steps, back = len(self.flow), len(self.flow) - 1
        if self.verdict == "none yet":
            return (
                "none yet: the output layer's weights are all zero, as some are before the first "
                "step, and let no gradient through; this says nothing about the recurrent layer"
            )
        if not self.flow[-1]:
            return "vanishing: no gradient reaches even the last step; the outputs are saturated"
        left = float(self.flow[0] / self.flow[-1])
        gated = self.closed is not None
        if self.verdict == "exploding":
            most = float(self.flow.max() / self.flow[-1])
            other = "" if gated else ", or an LSTM or GRU"
            return (
                f"exploding: the gradient grows to {most:.3g} times its last step's. Try a smaller "
                f"--max-norm or --lr, orthogonal initial weights{other}"
            )
        if self.verdict == "vanishing":
            other = "gates that begin open (LSTM(forget_bias=…))" if gated else "an LSTM or GRU"
            return (
                f"vanishing: {self.memory} steps back less than 1 % is left (of {steps} steps, "
                f"{left:.2g} at the first), and what lies further back is hardly learnt. Try "
                f"{other}, orthogonal initial weights, more training, or shorter sequences first"
            )
        return f"healthy: {left:.2g} of the gradient is left {back} steps back"


@dataclass(frozen=True)
class GradientFlow:
    """Gradient flow in all layers; as text, a paragraph per layer.

    Attributes
    ----------
    loss : float
        L^(T).
    output : float or None
        ‖∂L^(T)/∂W_ph‖, of the output layer's weights, where the model has one named `output`:
        it depends on the last state alone.
    layers : tuple of LayerFlow
    """

    loss: float
    output: float | None
    layers: tuple[LayerFlow, ...]

    def __str__(self) -> str:
        lines = []
        if self.output is not None:
            lines.append(f"‖∂L/∂W_ph‖ = {self.output:.3g}, all of it from the last step")
        for layer in self.layers:
            half = len(layer.shares) // 2
            lines.append(f"{layer.name}: {layer.explain()}")
            if layer.has_recurrent:
                lines.append(
                    f"  ‖∂L/∂W_hh‖ = {layer.recurrent:.3g}; {float(layer.shares[:half].sum()):.1%} "
                    f"of it from the first {half} of {len(layer.shares)} steps, "
                    f"{float(layer.shares[-1]):.1%} from the last"
                )
            else:
                lines.append("  no W_hh: the cell has no recurrent weights")
            if layer.radius:
                radii = ", ".join(f"{gate} {r:.3g}" for gate, r in layer.radius.items())
                lines.append(f"  spectral radius of the recurrent weights: {radii}")
            if layer.closed is not None:
                lines.append(
                    f"  gates saturated: {layer.closed:.1%} closed (< {CLOSED}), "
                    f"{layer.opened:.1%} open (> {OPEN})"
                )
        return "\n".join(lines)


def gradient_flow(
    model: nn.Module, batch: Sequence[Tensor], loss: Loss | None = None
) -> GradientFlow:
    """Measure how the gradient of the last step's loss flows back through a model.

    Works on any model that holds `Recurrent` layers and runs each once, with any cell and
    operator. The model is copied, in float64 and evaluation mode, and left as it is.

    Parameters
    ----------
    model : nn.Module
    batch : sequence of Tensor
        The model's arguments, and last the targets: `[B]`, or real `[B, F]`, of the last step; or
        `[T, B]`, or real `[T, B, F]`, of every step; only the last is used, as of the outputs.
    loss : callable
        L^(T) of outputs `[B, …]` and targets `[B, …]`. None: cross-entropy for whole numbers, mean
        squared error for real ones; both means over the batch.

    Returns
    -------
    GradientFlow

    Raises
    ------
    ValueError
        For a model without recurrent layers, or one that runs a layer more than once or over a list
        of graphs.

    Example
    -------
    >>> import torch
    >>> from torch import nn
    >>> from plait import RNN, Recurrent
    >>> from plait.diagnostics import gradient_flow
    >>> class Last(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.recurrent, self.output = Recurrent(RNN(), 3, 8), nn.Linear(8, 2)
    ...     def forward(self, x):
    ...         return self.output(self.recurrent(x)[1][-1])
    >>> _ = torch.manual_seed(0)
    >>> flow = gradient_flow(Last(), (torch.randn(50, 4, 3), torch.tensor([0, 1, 1, 0])))
    >>> flow.layers[0].verdict, flow.layers[0].flow.shape
    ('vanishing', torch.Size([50]))
    """
    model = copy.deepcopy(model).double().eval()
    for p in model.parameters():
        p.requires_grad_()
    recorded = {
        (f"{name} " if name not in ("", "recurrent") else "") + label: (layer, cell)
        for name, module in model.named_modules()
        if isinstance(module, Recurrent)
        for label, layer, cell in record(module)
    }
    if not recorded:
        raise ValueError("the model has no recurrent layer for a gradient to flow through")
    *arguments, targets = (t.double() if t.is_floating_point() else t for t in batch)
    outputs = model(*arguments)
    outputs = outputs[0] if isinstance(outputs, tuple) else outputs
    outputs, targets = _last(outputs, targets)
    if loss is None:
        loss = F.mse_loss if targets.is_floating_point() else F.cross_entropy
    value = loss(outputs, targets)
    output = getattr(model, "output", None)
    weight = getattr(output, "weight", None)
    zero = isinstance(weight, Tensor) and not weight.any()
    inputs: list[Tensor] = [weight] if isinstance(weight, Tensor) else []
    for _, cell in recorded.values():
        inputs += [s for state in cell.states_seen for s in state] + cell.products
    found = torch.autograd.grad(value, inputs, allow_unused=True)
    gradients = {
        id(t): torch.zeros_like(t) if g is None else g for t, g in zip(inputs, found, strict=True)
    }
    return GradientFlow(
        value.item(),
        float(gradients[id(weight)].norm()) if id(weight) in gradients else None,
        tuple(
            replace(_layer_flow(name, layer, cell, gradients), zero_output=zero)
            for name, (layer, cell) in recorded.items()
        ),
    )


def _last(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of the last step, where there are some at every step."""
    every = targets.ndim > (2 if targets.is_floating_point() else 1)
    return (outputs[-1], targets[-1]) if every else (outputs, targets)


def _layer_flow(
    name: str, layer: Layer, cell: RecordingCell, gradients: Mapping[int, Tensor]
) -> LayerFlow:
    norms = {
        state: torch.stack([gradients[id(states[k])].norm() for states in cell.states_seen])
        for k, state in enumerate(cell.states)
    }
    terms = recurrent_gradients(layer, cell, gradients)
    sizes = torch.stack([_norm(term) for term in terms])
    counted = cell.activations
    return LayerFlow(
        name,
        norms,
        torch.stack(list(norms.values())).square().sum(0).sqrt(),
        float(_norm([torch.stack(w).sum(0) for w in zip(*terms, strict=True)])),
        sizes / sizes.sum() if sizes.sum() else sizes,
        _spectral_radius(layer),
        counted.closed / counted.all if counted.all else None,
        counted.opened / counted.all if counted.all else None,
        has_recurrent=len(layer.recurrent) > 0,
    )


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    squares = [t.square().sum() for t in tensors]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros(())


def _spectral_radius(layer: Layer) -> dict[str, float]:
    """Return the largest absolute eigenvalue of each gate's recurrent matrix, for `Dense`."""
    H = layer.hidden_size
    if type(layer.operator) is not Dense or not layer.recurrent:
        return {}
    weight = layer.recurrent["weight"]  # [G·H, H]
    return {
        gate: float(torch.linalg.eigvals(matrix).abs().max())
        for gate, matrix in zip(layer.recurrent_gates, weight.detach().split(H), strict=True)
    }
