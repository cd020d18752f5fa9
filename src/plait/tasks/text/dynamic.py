"""Dynamic evaluation: the weights go on learning on the text that is being scored."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.tasks.text.model import TextModel
from plait.tasks.text.scores import in_reported_units

SEGMENT = 50
"""Symbols that are scored before the weights learn from them."""


def score_dynamic(model: TextModel, numbers: Tensor, lr: float, max_norm: float = 1.0) -> float:
    """Score a text in bits per character, or of words by the perplexity, while learning from it.

    The text is read in one stream with the state carried. Each segment of 50 symbols is
    predicted first, and only then learned from, by one step of gradient descent with the learning
    rate `lr` on its mean loss, so no symbol is seen before it is scored (Mikolov et al. 2010;
    Krause et al. 2018). The model itself is left as it was.

    Parameters
    ----------
    model : TextModel
    numbers : Tensor `[n]`
    lr : float
        0 is scoring without learning.
    max_norm : float
        Gradients of a larger norm are scaled down to it.
    """
    model = copy.deepcopy(model).eval()
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=lr)
    state, nats = None, 0.0
    with torch.enable_grad():
        for begin in range(0, len(numbers) - 1, SEGMENT):
            segment = numbers[begin : begin + SEGMENT + 1]
            logits, state = model(segment[:-1, None], state)  # [T, 1, V]
            loss = F.cross_entropy(logits[:, 0], segment[1:])
            nats += loss.item() * (len(segment) - 1)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, max_norm)
            optimizer.step()
            states = state if isinstance(state, tuple) else (state,)
            state = tuple(s.detach() for s in states)
    loss = nats / (len(numbers) - 1)
    (score,) = in_reported_units(model.vocabulary, loss, numbers).values()
    return score
