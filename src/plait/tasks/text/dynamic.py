"""Dynamic evaluation: the weights go on learning on the text that is being scored."""

import copy
from collections.abc import Iterator, Sequence

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
    nats = 0.0
    for loss, count in _segments(model, numbers):
        nats += loss.item() * count
        with torch.no_grad():
            if squares is None:
                nn.utils.clip_grad_norm_(parameters, max_norm)
            for p, scale, back, start in zip(parameters, scales, pull, trained, strict=True):
                assert p.grad is not None
                p.add_(back * (start - p) - lr * scale * p.grad)
    loss = nats / (len(numbers) - 1)
    (score,) = in_reported_units(model.vocabulary, loss, numbers).values()
    return score


def mean_squares(model: TextModel, numbers: Tensor) -> list[Tensor]:
    """Return the mean square of each weight's gradient over the segments of a text.

    The text is of the training part; its segments are those of `score_dynamic`.
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


def _segments(model: TextModel, numbers: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Yield the mean loss and length of each segment, its gradient in the model's weights."""
    state = None
    for begin in range(0, len(numbers) - 1, SEGMENT):
        segment = numbers[begin : begin + SEGMENT + 1]
        with torch.enable_grad():
            logits, state = model(segment[:-1, None], state)  # [T, 1, V]
            loss = F.cross_entropy(logits[:, 0], segment[1:])
            model.zero_grad()
            loss.backward()
        state = tuple(s.detach() for s in as_tuple(state))
        yield loss.detach(), len(segment) - 1
