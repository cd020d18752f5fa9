"""Dynamic evaluation: the weights go on learning on the text that is being scored."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.nn.forms import as_tuple
from plait.tasks.text.model import TextModel
from plait.tasks.text.scores import in_reported_units

SEGMENT = 50
"""Symbols that are scored before the weights learn from them."""

FLOOR = 0.1
"""Added to the root mean squares of gradients, as a share of their mean: ε of the paper."""

RATES = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Learning rates among which dynamic evaluation chooses."""

RMS_RATES, DECAYS = (2e-4, 4e-4, 8e-4, 1.6e-3), (1e-2, 1e-3)
"""Those of its RMS form; then decays, the first of which each rate is tried with."""


def score_dynamic(
    model: TextModel,
    numbers: Tensor,
    lr: float,
    max_norm: float = 1.0,
    *,
    squares: Sequence[Tensor] | None = None,
    decay: float = 0.0,
) -> float:
    """Score a text in bits per character, or of words by the perplexity, while learning from it.

    Arguments are those of `read_dynamic`.
    """
    log_p = read_dynamic(model, numbers, lr, max_norm, squares=squares, decay=decay)
    return _reported(model, log_p, numbers)


def read_dynamic(
    model: TextModel,
    numbers: Tensor,
    lr: float,
    max_norm: float = 1.0,
    *,
    squares: Sequence[Tensor] | None = None,
    decay: float = 0.0,
) -> np.ndarray:
    """Return ln p of every symbol of a text but the first, `[n − 1]`, while learning from it.

    The text is read in one stream with the state carried. Each segment of 50 symbols is
    predicted first, and only then learned from, by one step of gradient descent with the learning
    rate `lr` on its mean loss, so no symbol is seen before it is scored (Mikolov et al. 2010;
    Krause et al. 2018). The model itself is left as it was.

    With `squares` the step is that of Krause et al. (2018), equations 5 to 7: with g the gradient,
    s = √squares, s̄ its mean over all weights, θ_0 the trained weights and ε = 0.1 s̄,

    θ ← θ − lr g / (s + ε) + decay (θ_0 − θ) s / s̄,  where decay · s / s̄ is at most 1.

    Parameters
    ----------
    model : TextModel
    numbers : Tensor `[n]`
    lr : float
        0 is scoring without learning.
    max_norm : float
        Gradients of a larger norm are scaled down to it, without `squares`.
    squares : sequence of Tensor
        The mean square of each weight's gradient, see `mean_squares`.
    decay : float
        How fast the weights return to the trained ones; for `squares`.
    """
    model = copy.deepcopy(model).eval()
    parameters = list(model.parameters())
    trained = [p.detach().clone() for p in parameters]
    if squares is None:
        scales, pull = [torch.ones(())] * len(parameters), [torch.zeros(())] * len(parameters)
    else:
        roots = [s.sqrt() for s in squares]
        mean = sum(r.sum() for r in roots) / sum(r.numel() for r in roots)
        scales = [1 / (r + FLOOR * mean) for r in roots]
        pull = [(decay * r / mean).clamp(max=1) for r in roots]
    log_p = list[Tensor]()
    for losses in _segments(model, numbers):
        log_p.append(-losses.double())
        with torch.no_grad():
            if squares is None:
                nn.utils.clip_grad_norm_(parameters, max_norm)
            for p, scale, back, start in zip(parameters, scales, pull, trained, strict=True):
                assert p.grad is not None
                p.add_(back * (start - p) - lr * scale * p.grad)
    return torch.cat(log_p).cpu().numpy()


def mean_squares(model: TextModel, numbers: Tensor) -> list[Tensor]:
    """Return the mean square of each weight's gradient over the segments of a text.

    The text is of the training set; its segments are those of `read_dynamic`.
    """
    model = copy.deepcopy(model).eval()
    parameters = list(model.parameters())
    sums = [torch.zeros_like(p) for p in parameters]
    segments = 0
    for _ in _segments(model, numbers):
        segments += 1
        for total, p in zip(sums, parameters, strict=True):
            assert p.grad is not None
            total += p.grad.square()
    return [total / segments for total in sums]


@dataclass(frozen=True)
class DynamicEvaluation:
    """Dynamic evaluation with rates that were chosen on a validation text.

    Attributes
    ----------
    rate : float
        Of the plain form.
    rms_rate, rms_decay : float
    squares : sequence of Tensor
        For the RMS form.
    chosen : mapping
        ln p of the validation text, `[n − 1]`, by "dynamic" and "rms".
    """

    rate: float
    rms_rate: float
    rms_decay: float
    squares: Sequence[Tensor]
    chosen: dict[str, np.ndarray]

    @classmethod
    def fit(cls, model: TextModel, training: Tensor, validation: Tensor) -> Self:
        """Choose the rates on a text; gradients of a part of the training text set the scale."""
        plain = {lr: read_dynamic(model, validation, lr) for lr in RATES}
        rate = max(plain, key=lambda lr: plain[lr].sum())
        squares = mean_squares(model, training)
        found: dict[tuple[float, float], np.ndarray] = {}

        def best(choices: list[tuple[float, float]]) -> tuple[float, float]:
            for lr, decay in choices:
                if (lr, decay) not in found:
                    found[lr, decay] = read_dynamic(
                        model, validation, lr, squares=squares, decay=decay
                    )
            return max(found, key=lambda choice: found[choice].sum())

        lr, _ = best([(lr, DECAYS[0]) for lr in RMS_RATES])
        lr, decay = best([(lr, decay) for decay in DECAYS])
        rows = {"dynamic": plain[rate], "rms": found[lr, decay]}
        return cls(rate, lr, decay, squares, rows)

    def read(self, model: TextModel, numbers: Tensor) -> dict[str, np.ndarray]:
        """Return ln p of every symbol but the first, `[n − 1]`, by "dynamic" and "rms"."""
        rms = {"squares": self.squares, "decay": self.rms_decay}
        return {
            "dynamic": read_dynamic(model, numbers, self.rate),
            "rms": read_dynamic(model, numbers, self.rms_rate, **rms),
        }

    def scores(
        self, model: TextModel, numbers: Tensor, rows: dict[str, np.ndarray], metric: str
    ) -> dict[str, float]:
        """Return the scores of what `read` returned, and the rates."""
        return {
            "dynamic_rate": self.rate,
            f"dynamic_{metric}": _reported(model, rows["dynamic"], numbers),
            "rms_rate": self.rms_rate,
            "rms_decay": self.rms_decay,
            f"rms_{metric}": _reported(model, rows["rms"], numbers),
        }


def _reported(model: TextModel, log_p: np.ndarray, numbers: Tensor) -> float:
    (score,) = in_reported_units(model.vocabulary, float(-log_p.mean()), numbers).values()
    return score


def _segments(model: TextModel, numbers: Tensor) -> Iterator[Tensor]:
    """Yield the losses of each segment, `[T]`, with the gradient of their mean in the weights."""
    state = None
    for begin in range(0, len(numbers) - 1, SEGMENT):
        segment = numbers[begin : begin + SEGMENT + 1]
        with torch.enable_grad():
            logits, state = model(segment[:-1, None], state)  # [T, 1, V]
            losses = F.cross_entropy(logits[:, 0], segment[1:], reduction="none")
            model.zero_grad()
            losses.mean().backward()
        state = tuple(s.detach() for s in as_tuple(state))
        yield losses.detach()
