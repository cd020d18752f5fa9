"""The optimizer: AdamW, and Muon for the matrices of recurrent layers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import AdamW

from plait.errors import InputError
from plait.nn.layer import Layer
from plait.training.config import TrainingConfig

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b, c of the Newton–Schulz iteration (Jordan et al. 2024)."""

ITERATIONS = 5
MOMENTUM = 0.95
ADAM_SCALE = 0.2
"""Root mean square of a typical step of Adam at learning rate 1."""


def make_optimizer(model: nn.Module, config: TrainingConfig) -> AdamW:
    """Make AdamW (Loshchilov & Hutter 2019) or Muon; biases and other vectors do not decay.

    Raises `InputError` for Muon where the model has no matrices for it.

    >>> import torch
    >>> from plait.training.config import TrainingConfig
    >>> from plait.training.optimizer import make_optimizer
    >>> config = TrainingConfig(weight_decay=0.1)
    >>> optimizer = make_optimizer(torch.nn.Linear(3, 2), config)
    >>> [(len(g["params"]), g["weight_decay"]) for g in optimizer.param_groups]
    [(1, 0.1), (1, 0.0)]
    """
    require_optimizer(model, config)
    parameters = [p for p in model.parameters() if p.requires_grad]
    gates = gate_matrices(model) if config.optimizer == "muon" else []
    taken = {id(p) for p, _ in gates}
    decayed = bool(config.weight_decay)  # one group is faster than two
    rest = [p for p in parameters if id(p) not in taken]
    matrices = [p for p in rest if p.ndim > 1 or not decayed]
    vectors = [p for p in rest if p.ndim <= 1 and decayed]
    groups = [(matrices, config.weight_decay), (vectors, 0.0)]
    adam = [{"params": params, "weight_decay": decay} for params, decay in groups if params]
    if not gates:
        return AdamW(adam, lr=config.lr, fused=True)
    return Muon(gates, adam, lr=config.lr, weight_decay=config.weight_decay)


def require_optimizer(model: nn.Module, config: TrainingConfig) -> None:
    """Refuse, with `InputError`, Muon where the model has no matrices for it."""
    if config.optimizer == "muon" and not gate_matrices(model):
        raise InputError(
            "--optimizer muon is for the matrices of recurrent layers, and this model has none; "
            "use --optimizer adamw"
        )


def gate_matrices(model: nn.Module) -> list[tuple[Parameter, int]]:
    """List the input and recurrent matrices of all recurrent layers, and the gates of each.

    Vectors, such as those that score the edges of an attention, are not among them.

    >>> import torch
    >>> from plait import GRU, Recurrent
    >>> from plait.training.optimizer import gate_matrices
    >>> [(tuple(p.shape), gates) for p, gates in gate_matrices(Recurrent(GRU(), 2, 5))]
    [((15, 2), 3), ((15, 5), 3)]
    """
    found = []
    for layer in (m for m in model.modules() if isinstance(m, Layer)):
        scores = getattr(layer.operator, "score_weights", ())
        sides = ((layer.inputs, len(layer.gates)), (layer.recurrent, len(layer.recurrent_gates)))
        found += [
            (weight, gates)
            for weights, gates in sides
            for name, weight in weights.items()
            if name not in scores and weight.ndim > 1 and weight.numel() and weight.requires_grad
        ]
    return found


class Muon(AdamW):
    r"""Muon (Jordan et al. 2024) for the matrices of gates, AdamW for everything else.

    With g the gradient of one gate's matrix W `[m, n]` and η the learning rate,

    B ← 0.95 B + 0.05 g,  U = orthogonal(0.95 B + 0.05 g),  W ← (1 − η λ) W − 0.2 η √max(m, n) U

    The last factor gives a step the root mean square of Adam's (Liu et al. 2025), so that one
    learning rate is right for both. The gates of a layer are rows of one tensor; each is made
    orthogonal by itself. `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"` computes the
    same, in bfloat16, of whole parameters.

    Parameters
    ----------
    gates : sequence of (Parameter, int)
        Tensors, and how many gates their first axis holds.
    rest : sequence of dict
        Parameter groups of AdamW; may be empty.
    lr, weight_decay : float
    """

    def __init__(
        self,
        gates: Sequence[tuple[Parameter, int]],
        rest: Sequence[dict[str, Any]],
        *,
        lr: float,
        weight_decay: float = 0.0,
    ) -> None:
        self.counts = [count for _, count in gates]
        own = {"params": [p for p, _ in gates], "weight_decay": weight_decay}
        super().__init__([*rest, own], lr=lr, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Make one step; the gradients of the gates are used up."""
        group = self.param_groups[-1]
        for p, count in zip(group["params"], self.counts, strict=True):
            if p.grad is not None:
                self._step_gates(p, count, group["lr"], group["weight_decay"])
                p.grad = None  # so that AdamW passes it over
        return super().step(closure)

    def _step_gates(self, p: Parameter, count: int, lr: float, weight_decay: float) -> None:
        gradient, state = p.grad, self.state[p]
        assert gradient is not None
        if not state:  # names that AdamW has too, whose loading looks for them
            state["step"] = torch.zeros((), dtype=torch.float32, device=p.device)
            state["exp_avg"] = torch.zeros_like(p)
        state["step"] += 1
        state["exp_avg"].lerp_(gradient, 1 - MOMENTUM)
        looked_ahead = gradient.lerp(state["exp_avg"], MOMENTUM)
        matrices = looked_ahead.reshape(count, len(p) // count, -1)  # [G, m, n]
        scale = ADAM_SCALE * math.sqrt(max(matrices.shape[1:]))
        p.mul_(1 - lr * weight_decay)
        p.sub_(orthogonal(matrices).reshape_as(p), alpha=lr * scale)


def orthogonal(matrices: Tensor) -> Tensor:
    r"""Return U Vᵀ of each matrix U Σ Vᵀ, nearly: its singular values are brought near to 1.

    X ← X / ‖X‖, then five times X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X (Newton and Schulz, with the
    coefficients of Jordan et al. 2024), which brings singular values to between 0.7 and 1.2 unless
    they were below a hundredth of the norm.

    Shapes: `[G, m, n]` to `[G, m, n]`.

    >>> import torch
    >>> from plait.training.optimizer import orthogonal
    >>> values = torch.linalg.svdvals(orthogonal(torch.randn(2, 6, 4)))
    >>> bool(((values > 0.3) & (values < 1.3)).all())
    True
    """
    a, b, c = COEFFICIENTS
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT
    x = (x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)).to(_product_type(x))
    for _ in range(ITERATIONS):
        gram = x @ x.mT  # [G, m, m]
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(matrices.dtype)


def _product_type(x: Tensor) -> torch.dtype:
    """Return bfloat16 for float32 where the processor multiplies it faster, and loses nothing."""
    fast = x.is_cuda or torch.cpu._is_avx512_bf16_supported()  # pyright: ignore
    return torch.bfloat16 if x.dtype == torch.float32 and fast else x.dtype
