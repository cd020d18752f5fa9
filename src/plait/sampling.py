"""How the next symbol is drawn: temperature, filters, then a random number.

A new filter is a field of `Sampling`, with its rule in `of` and `probabilities`; the same in the
compiled loop (`Draw` in `kernels/cpu/generation.py`, filled in by `nn/generation.py`); and an
argument of `TextGenerator.generate` and of `plait generate` (`cli/writing.py`).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plait.errors import InputError


@dataclass(frozen=True)
class Sampling:
    """How a symbol is drawn from logits ℓ.

    p = softmax(β ℓ), then these filters in order, each on the renormalised result of the last:

    1. `top_k` keeps the k likeliest symbols;
    2. `top_p` keeps the smallest set of likeliest symbols with at least this total probability
       (nucleus sampling; Holtzman et al. 2020);
    3. `min_p` keeps symbols with at least this share of the largest probability (Nguyen et al.
       2024).

    Ties go to the lower number. β = 1 / temperature: temperature *divides* the logits, β
    multiplies them (the report calls β a temperature). β = ∞, temperature 0, is greedy: always the
    likeliest symbol; β = 0 is uniform.

    Raises
    ------
    InputError
        For values out of range, or for both β and a temperature.

    Example
    -------
    >>> import torch
    >>> from plait.sampling import Sampling
    >>> logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
    >>> Sampling.of(beta=2).probabilities(logits).mul(38).round()
    tensor([[25.,  9.,  4.]], dtype=torch.float64)
    >>> Sampling.of(top_k=2).probabilities(logits).mul(8).round()
    tensor([[5., 3., 0.]], dtype=torch.float64)
    """

    beta: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    @classmethod
    def of(
        cls,
        *,
        temperature: float | None = None,
        beta: float | None = None,
        greedy: bool = False,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
    ) -> "Sampling":
        """Make it from options, with at most one of temperature, β and greedy."""
        given_names = [
            name
            for name, given in (
                ("temperature", temperature is not None),
                ("beta", beta is not None),
                ("greedy", greedy),
            )
            if given
        ]
        if len(given_names) > 1:
            raise InputError(
                f"give {' or '.join(given_names)}, not both: each says how sharp to draw"
            )
        if temperature is not None:
            require("temperature", temperature, temperature >= 0, "at least 0")
            beta = math.inf if temperature == 0 else 1 / temperature
        if greedy:
            beta = math.inf
        if beta is None:
            beta = 1.0
        require("beta", beta, beta >= 0, "at least 0")
        if top_k is not None:
            require("top_k", top_k, top_k >= 1, "at least 1")
        if top_p is not None:
            require("top_p", top_p, 0 < top_p <= 1, "more than 0 and at most 1")
        if min_p is not None:
            require("min_p", min_p, 0 <= min_p <= 1, "from 0 to 1")
        return cls(beta, top_k, top_p, min_p)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the distribution that symbols are drawn from, `[B, V]` in float64."""
        logits = logits.double()
        if math.isinf(self.beta):
            return nn.functional.one_hot(first_largest(logits), logits.shape[-1]).double()
        p = torch.softmax(self.beta * (logits - logits.amax(-1, keepdim=True)), -1)
        if self.top_k is not None or self.top_p is not None:
            order = p.sort(dim=-1, descending=True, stable=True).indices
            ranked = p.gather(-1, order)  # [B, V], likeliest first
            if self.top_k is not None:
                ranked[:, self.top_k :] = 0
                ranked /= ranked.sum(-1, keepdim=True)
            if self.top_p is not None and self.top_p < 1:  # of 1, rounding would leave some out
                before = ranked.cumsum(-1) - ranked
                ranked = ranked.masked_fill(before >= self.top_p, 0)
            p = torch.zeros_like(p).scatter(-1, order, ranked)
        if self.min_p is not None:
            p = p.masked_fill(p < self.min_p * p.amax(-1, keepdim=True), 0)
        return p / p.sum(-1, keepdim=True)

    def draw(self, logits: Tensor, u: Tensor) -> Tensor:
        """Return symbols drawn by the inverse distribution function: the first whose sum exceeds u.

        Shapes: logits `[B, V]`, u `[B]` uniform in [0, 1), symbols `[B]`.
        """
        if math.isinf(self.beta):
            return first_largest(logits)
        p = self.probabilities(logits)
        drawn = (p.cumsum(-1) <= u[:, None]).sum(-1)
        last = p.shape[-1] - 1 - first_largest((p > 0).double().flip(-1))
        return torch.minimum(drawn, last)  # the sum may stay below 1 by rounding


def first_largest(x: Tensor) -> Tensor:
    """Return the lowest index of the largest value along the last axis.

    >>> import torch
    >>> from plait.sampling import first_largest
    >>> first_largest(torch.tensor([1.0, 3.0, 3.0])).item()
    1
    """
    size = x.shape[-1]
    index = torch.arange(size, device=x.device)
    return torch.where(x == x.amax(-1, keepdim=True), index, size).amin(-1)


def require(name: str, value: float, good: bool, range_: str) -> None:
    """Refuse a value out of range; the message names the range."""
    if not good:
        raise InputError(f"{name} must be {range_}, not {value}")
