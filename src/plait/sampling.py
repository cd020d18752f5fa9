"""How the next symbol is drawn: what was said before, temperature, filters, a random number.

A new filter is a field of `Sampling`, with its rule in `of` and `probabilities`; the same in the
compiled loop (`Draw` in `kernels/cpu/drawing.py`, filled in by `nn/generation.py`); and an
argument of `TextGenerator.generate` and of `plait generate` (`cli/writing.py`).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plait.errors import InputError

PENALISED = 64
"""How many symbols before the next one a repetition penalty is for."""

MIROSTAT_RATE = 0.1
"""How fast mirostat corrects its limit: η of the paper."""


@dataclass(frozen=True)
class Sampling:
    """How a symbol is drawn from logits ℓ.

    First, by what the text has already, prompt included:

    - `repetition_penalty` θ multiplies ln p of the symbols among the last 64 (Keskar et al. 2019,
      whose rule is this one where the logits are ln p);
    - `no_repeat` n excludes symbols that would end a string of n symbols that the text had before,
      unless nothing were left (Paulus et al. 2018).

    Then p = softmax(β ℓ), and these filters in order, each on the renormalised result of the last:

    1. `top_k` keeps the k likeliest symbols;
    2. `top_p` keeps the smallest set of likeliest symbols with at least this total probability
       (nucleus sampling; Holtzman et al. 2020);
    3. `typical_p` keeps the smallest set with at least this total probability of the symbols whose
       surprise −ln p is nearest to its mean, the entropy (locally typical sampling; Meister et al.
       2023);
    4. `min_p` keeps symbols with at least this share of the largest probability (Nguyen et al.
       2024);
    5. `mirostat` τ keeps symbols of a surprise of at most μ bits, and the likeliest. μ is 2 τ at
       first, and falls by 0.1 (s − τ) after a symbol of s bits, so that the mean is near τ (Basu et
       al. 2021, algorithm 2).

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
    typical_p: float | None = None
    mirostat: float | None = None
    no_repeat: int | None = None
    repetition_penalty: float | None = None

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
        typical_p: float | None = None,
        mirostat: float | None = None,
        no_repeat: int | None = None,
        repetition_penalty: float | None = None,
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
        if typical_p is not None:
            require("typical_p", typical_p, 0 < typical_p <= 1, "more than 0 and at most 1")
        if mirostat is not None:
            require("mirostat", mirostat, 0 < mirostat < math.inf, "more than 0 bits")
            if math.isinf(beta):
                raise InputError(
                    "mirostat corrects random draws, and greedy decoding has none; leave one out"
                )
        if no_repeat is not None:
            require("no_repeat", no_repeat, no_repeat >= 1, "at least 1")
        if repetition_penalty is not None:
            good = 1 <= repetition_penalty < math.inf
            require("repetition_penalty", repetition_penalty, good, "at least 1")
        return cls(beta, top_k, top_p, min_p, typical_p, mirostat, no_repeat, repetition_penalty)

    @property
    def looks_back(self) -> bool:
        """Whether it depends on the symbols before."""
        return self.no_repeat is not None or self.repetition_penalty is not None

    def probabilities(
        self, logits: Tensor, past: Tensor | None = None, limit: Tensor | None = None
    ) -> Tensor:
        """Return the distribution that symbols are drawn from, `[B, V]` in float64.

        Parameters
        ----------
        logits : Tensor `[B, V]`
        past : Tensor `[n, B]`
            The symbols of each text so far. None: there are none.
        limit : Tensor `[B]`
            μ of `mirostat`. None: 2 τ.
        """
        p = self.filtered(logits, past)
        if self.mirostat is None:
            return p
        limit = limit if limit is not None else p.new_full(p.shape[:1], 2 * self.mirostat)
        surprising = -p.log2() > limit[:, None]
        surprising.scatter_(-1, first_largest(p)[:, None], False)
        p = p.masked_fill(surprising, 0)
        return p / p.sum(-1, keepdim=True)

    def filtered(self, logits: Tensor, past: Tensor | None = None) -> Tensor:
        """Return the distribution before mirostat's limit, `[B, V]` in float64."""
        logits = logits.double()
        if past is not None and len(past):
            logits = self._looked_back(logits, past)
        if math.isinf(self.beta):
            return nn.functional.one_hot(first_largest(logits), logits.shape[-1]).double()
        scaled = self.beta * (logits - logits.amax(-1, keepdim=True))
        p = torch.softmax(scaled.masked_fill(logits == -math.inf, -math.inf), -1)
        if self.top_k is not None or self.top_p is not None:
            order = p.sort(dim=-1, descending=True, stable=True).indices
            ranked = p.gather(-1, order)  # [B, V], likeliest first
            if self.top_k is not None:
                ranked[:, self.top_k :] = 0
                ranked /= ranked.sum(-1, keepdim=True)
            if self.top_p is not None:
                ranked = _within(ranked, self.top_p)
            p = torch.zeros_like(p).scatter(-1, order, ranked)
            p = p / p.sum(-1, keepdim=True)
        if self.typical_p is not None:
            surprise = -p.log()  # infinite where p = 0
            entropy = torch.special.entr(p).sum(-1, keepdim=True)
            order = (surprise - entropy).abs().sort(dim=-1, stable=True).indices
            p = torch.zeros_like(p).scatter(-1, order, _within(p.gather(-1, order), self.typical_p))
            p = p / p.sum(-1, keepdim=True)
        if self.min_p is not None:
            p = p.masked_fill(p < self.min_p * p.amax(-1, keepdim=True), 0)
        return p / p.sum(-1, keepdim=True)

    def _looked_back(self, logits: Tensor, past: Tensor) -> Tensor:
        """Return logits that avoid what `past [n, B]` had."""
        if self.repetition_penalty is not None:
            logits = logits.log_softmax(-1)
            recent = torch.zeros_like(logits, dtype=torch.bool)
            recent.scatter_(-1, past[-PENALISED:].T, True)
            logits = torch.where(recent, logits * self.repetition_penalty, logits)
        n = self.no_repeat
        if n is not None and len(past) >= n:
            begins = len(past) - n + 1
            same = torch.ones_like(past[:begins], dtype=torch.bool)  # [begins, B]
            for k in range(n - 1):
                same &= past[k : k + begins] == past[begins + k]
            ends = past[n - 1 :]  # the symbol after each string of n − 1
            blocked = torch.zeros_like(logits).scatter_add_(-1, ends.T, same.T.to(logits.dtype)) > 0
            blocked &= ~blocked.all(-1, keepdim=True)
            logits = logits.masked_fill(blocked, -math.inf)
        return logits

    def draw(self, logits: Tensor, u: Tensor) -> Tensor:
        """Return symbols by inverse-CDF sampling: the first whose cumulative probability exceeds u.

        Shapes: logits `[B, V]`, u `[B]` uniform in [0, 1), symbols `[B]`.
        """
        if math.isinf(self.beta):
            return first_largest(logits)
        return inverse(self.probabilities(logits), u)


class Sampler:
    """Draws the symbols of a batch of texts one after another, and remembers what it must.

    Parameters
    ----------
    sampling : Sampling
    past : Tensor `[n, B]`
        The symbols that the texts begin with.

    Attributes
    ----------
    past : Tensor `[n, B]`
        The symbols so far, where the sampling looks back; else none.
    limit : Tensor `[B]`
        μ of mirostat; without it not used.

    Example
    -------
    >>> import torch
    >>> from plait.sampling import Sampler, Sampling
    >>> sampler = Sampler(Sampling.of(greedy=True, no_repeat=2), torch.tensor([[0], [0]]))
    >>> [sampler.draw(torch.tensor([[2.0, 1.0]]), torch.zeros(1)).item() for _ in range(3)]
    [1, 0, 0]
    """

    def __init__(self, sampling: Sampling, past: Tensor) -> None:
        self.sampling = sampling
        self.past = past if sampling.looks_back else past[:0]
        self.limit = torch.full((past.shape[1],), 2 * (sampling.mirostat or 0), dtype=torch.float64)

    def draw(self, logits: Tensor, u: Tensor) -> Tensor:
        """Return the next symbols `[B]`, by logits `[B, V]` and u `[B]` uniform in [0, 1)."""
        sampling, tau = self.sampling, self.sampling.mirostat
        if math.isinf(sampling.beta) and not sampling.looks_back:
            return first_largest(logits)
        limit = self.limit.to(logits.device)
        p = sampling.probabilities(logits, self.past, limit)
        drawn = first_largest(p) if math.isinf(sampling.beta) else inverse(p, u)
        if tau is not None:
            surprise = -sampling.filtered(logits, self.past).gather(-1, drawn[:, None])[:, 0].log2()
            self.limit = self.limit - MIROSTAT_RATE * (surprise.to(self.limit.device) - tau)
        if sampling.looks_back:
            self.past = torch.cat([self.past, drawn[None]])
        return drawn


def inverse(p: Tensor, u: Tensor) -> Tensor:
    """Return the first symbol of each row of `p [B, V]` whose sum exceeds `u [B]`."""
    drawn = (p.cumsum(-1) <= u[:, None]).sum(-1)
    last = p.shape[-1] - 1 - first_largest((p > 0).double().flip(-1))
    return torch.minimum(drawn, last)  # the sum may stay below 1 by rounding


def _within(ranked: Tensor, mass: float) -> Tensor:
    """Keep the first symbols, ranked along the last axis, until they hold so much."""
    if mass == 1:  # rounding would leave some out
        return ranked
    before = ranked.cumsum(-1) - ranked
    return ranked.masked_fill(before >= mass, 0)


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
