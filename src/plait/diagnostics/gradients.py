"""How the gradient of the last answer's loss flows back through time.

A network that is to remember must be taught across time: what step t did must be felt in
∂L^(T)/∂h^(t). Where that vanishes nothing so far back is learnt; where it explodes, nothing is.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from plait.kernels.reference import Reference
from plait.nn.cell import Cell, RecurrentSide, State
from plait.nn.layer import Layer
from plait.nn.operators import Dense
from plait.nn.recurrent import Recurrent

REMEMBERED = 0.01
"""Memory reaches back to where less than this share of the last step's gradient is left."""

EXPLODED = 100.0
"""A gradient that has grown by more than this has exploded."""

CLOSED, OPEN = 0.1, 0.9
"""A gate is saturated below the one and above the other (Karpathy et al. 2016)."""

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LayerFlow:
    """Gradient flow in one layer and direction; steps in the order in which it reads.

    Attributes
    ----------
    name : str
        "layer 0", or "layer 0 reversed".
    norms : mapping of Tensor `[T]`
        For each of the cell's states s: ‖∂L^(T)/∂s^(t)‖ over the whole batch, the other states
        held still. For an LSTM most of the way back is c.
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
        """What it is: "vanishing", "exploding", "healthy"; "none yet" where the output is zero."""
        if self.zero_output and not self.flow.any():
            return "none yet"
        last = float(self.flow[-1])
        if not bool(self.flow.isfinite().all()) or float(self.flow.max()) > EXPLODED * last:
            return "exploding"
        return "healthy" if self.memory is None else "vanishing"

    def explain(self) -> str:
        """Say in plain words what the flow means, and what to try."""
        steps, back = len(self.flow), len(self.flow) - 1
        if self.verdict == "none yet":
            return (
                "none yet: the output layer's weights are all zero, as some are before the first "
                "step, and let no gradient through; this says nothing of the recurrent layer"
            )
        if not self.flow[-1]:
            return "vanishing: no gradient reaches even the last step; the answers are saturated"
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
    """Gradient flow in all layers; as text, a paragraph a layer.

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
                told = ", ".join(f"{gate} {r:.3g}" for gate, r in layer.radius.items())
                lines.append(f"  spectral radius of the recurrent weights: {told}")
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
        `[T, B]`, or real `[T, B, F]`, of every step, of which the last counts, as of the answers.
    loss : callable
        L^(T) of answers `[B, …]` and targets `[B, …]`. None: cross-entropy for whole numbers, mean
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
    watched = {
        (f"{name} " if name not in ("", "recurrent") else "") + label: (strand, watch)
        for name, layer in model.named_modules()
        if isinstance(layer, Recurrent)
        for label, strand, watch in _watch(layer)
    }
    if not watched:
        raise ValueError("the model has no recurrent layer for a gradient to flow through")
    *arguments, targets = (t.double() if t.is_floating_point() else t for t in batch)
    answers = model(*arguments)
    answers = answers[0] if isinstance(answers, tuple) else answers
    answers, targets = _last(answers, targets)
    if loss is None:
        loss = F.mse_loss if targets.is_floating_point() else F.cross_entropy
    value = loss(answers, targets)
    output = getattr(model, "output", None)
    weight = getattr(output, "weight", None)
    zero = isinstance(weight, Tensor) and not weight.any()
    wanted: list[Tensor] = [weight] if isinstance(weight, Tensor) else []
    for _, watch in watched.values():
        wanted += [s for state in watch.states_seen for s in state] + watch.heard
    found = dict(
        zip(map(id, wanted), torch.autograd.grad(value, wanted, allow_unused=True), strict=True)
    )
    gradients = {id(t): torch.zeros_like(t) if found[id(t)] is None else found[id(t)]
                 for t in wanted}  # fmt: skip
    return GradientFlow(
        value.item(),
        float(gradients[id(weight)].norm()) if id(weight) in gradients else None,
        tuple(
            replace(_layer_flow(n, strand, w, gradients), zero_output=zero)
            for n, (strand, w) in watched.items()
        ),
    )


def _last(answers: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Answers and targets of the last step, where there are some at every step."""
    every = targets.ndim > (2 if targets.is_floating_point() else 1)
    return (answers[-1], targets[-1]) if every else (answers, targets)


class _Watch(Cell):
    """A cell that steps as another does, and keeps what is asked for gradients later.

    States go on as copies, so that the gradient of one does not pass through the others of the
    same step.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.gates, self.states, self.vectors = cell.gates, cell.states, cell.vectors
        self.states_seen: list[State] = []
        self.heard: list[Tensor] = []
        self.calls: list[list[tuple[Tensor, Sequence[str] | None]]] = []
        self.recurrent: RecurrentSide | None = None
        self.activations = _Sigmoids()

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        if self.recurrent is not None and recurrent is not self.recurrent:
            raise ValueError(
                "the model runs a recurrent layer more than once, or over several graphs"
            )
        self.recurrent = recurrent
        calls: list[tuple[Tensor, Sequence[str] | None]] = []

        def watched(tensor: Tensor, gates: Sequence[str] | None = None) -> Tensor:
            answer = recurrent(tensor, gates)
            calls.append((tensor, gates))
            self.heard.append(answer)
            return answer

        with self.activations:
            new = self.cell.step(x_gates, watched, state, vectors)
        self.calls.append(calls)
        self.states_seen.append(tuple(s.clone() for s in new))
        return self.states_seen[-1]


class _Sigmoids(TorchFunctionMode):
    """Counts what σ gives: how much of it is near 0, near 1, and all."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = self.opened = self.all = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        if func in (torch.sigmoid, torch.Tensor.sigmoid, torch.special.expit):
            self.closed += int((answer < CLOSED).sum())
            self.opened += int((answer > OPEN).sum())
            self.all += answer.numel()
        return answer


def _watch(layer: Recurrent) -> list[tuple[str, Layer, _Watch]]:
    """Put a watch on every direction, and let the reference run it."""
    watches = []
    layer.cell, layer.kernels = _Watch(layer.cell), [Reference()]
    for k, strand in enumerate(layer.directions):
        assert isinstance(strand, Layer)
        depth, direction = divmod(k, layer.num_directions)
        strand.cell = watch = _Watch(strand.cell)
        watches.append((f"layer {depth}" + (" reversed" if direction else ""), strand, watch))
    return watches


def _layer_flow(
    name: str, strand: Layer, watch: _Watch, gradients: Mapping[int, Tensor]
) -> LayerFlow:
    norms = {
        state: torch.stack([gradients[id(seen[k])].norm() for seen in watch.states_seen])
        for k, state in enumerate(watch.states)
    }
    parts = _recurrent_gradients(strand, watch, gradients)
    sizes = torch.stack([_norm(part) for part in parts])
    seen = watch.activations
    return LayerFlow(
        name,
        norms,
        torch.stack(list(norms.values())).square().sum(0).sqrt(),
        float(_norm([torch.stack(w).sum(0) for w in zip(*parts, strict=True)])),
        sizes / sizes.sum() if sizes.sum() else sizes,
        _spectral_radius(strand),
        seen.closed / seen.all if seen.all else None,
        seen.opened / seen.all if seen.all else None,
        has_recurrent=len(strand.recurrent) > 0,
    )


def _recurrent_gradients(
    strand: Layer, watch: _Watch, gradients: Mapping[int, Tensor]
) -> list[list[Tensor]]:
    """∂L/∂W_hh step by step: what comes of the use of the weights at that step alone.

    Each use is made again with what was heard held still, so it depends on nothing earlier.
    """
    weights = list(strand.recurrent.values())
    heard = iter(watch.heard)
    parts = []
    assert watch.recurrent is not None
    for calls in watch.calls:
        part = [torch.zeros_like(w) for w in weights]
        for tensor, gates in calls:
            answer = watch.recurrent(tensor.detach(), gates)
            found = torch.autograd.grad(
                answer, weights, gradients[id(next(heard))], retain_graph=True, allow_unused=True
            )
            part = [p if g is None else p + g for p, g in zip(part, found, strict=True)]
        parts.append(part)
    return parts


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    squares = [t.square().sum() for t in tensors]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros(())


def _spectral_radius(strand: Layer) -> dict[str, float]:
    """Largest absolute eigenvalue of each gate's recurrent matrix, where it is one."""
    H = strand.hidden_size
    if type(strand.operator) is not Dense or not strand.recurrent:
        return {}
    weight = strand.recurrent["weight"]  # [G·H, H]
    return {
        gate: float(torch.linalg.eigvals(matrix).abs().max())
        for gate, matrix in zip(strand.recurrent_gates, weight.detach().split(H), strict=True)
    }
