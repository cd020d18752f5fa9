"""The model of the scenes task: objects and pairs exchange messages."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.nn.convolution import GraphConv
from plait.tasks.scenes.batches import Batch
from plait.tasks.scenes.config import ScenesConfig
from plait.tasks.scenes.geometry import GEOMETRY

SEEN = 5
"""Numbers of an object besides its class and features."""


class ScenesModel(nn.Module):
    r"""Computes for every ordered pair of objects the logits of the predicates.

    An object i is x_i: its class, one of C, and what `describe` says, standardised. A pair (i, j)
    is e_ij = MLP[x_i, x_j, |x_i − x_j|, geometry_ij].

    h_0 = [ReLU(A x_i + a) for the objects; e_ij for the pairs],  h_l = ReLU(W_l * h_{l−1} + b_l)

    p(predicate | i, j) = σ(f + V ReLU(U [e_ij, h_i, h_j] + u) + v)

    with `*` the operator on the graph of `half_edges`, h_i and h_j what the objects are after the
    last layer, and f the log odds of the predicates for pairs of these classes in the training
    part, from which the model begins (the frequency bias of Zellers et al. 2018). With `Dense`
    it is the same model without messages: h_i depends on x_i alone.

    Shapes: a `Batch` with P pairs to logits `[P, predicates]`.

    Example
    -------
    >>> import torch
    >>> from plait.tasks.scenes.batches import Batch
    >>> from plait.tasks.scenes.config import ScenesConfig
    >>> from plait.tasks.scenes.generator import generate_scenes
    >>> from plait.tasks.scenes.model import ScenesModel
    >>> scenes = generate_scenes(seed=0, count=4)
    >>> model = ScenesModel(ScenesConfig(), classes=5, predicates=8, features=3)
    >>> batch = Batch.of(scenes.scenes, 8, torch.device("cpu"))
    >>> model(batch).shape == (sum(batch.sizes), 8)
    True
    """

    frequency: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(
        self, config: ScenesConfig, *, classes: int, predicates: int, features: int
    ) -> None:
        super().__init__()
        H, seen = config.hidden_size, SEEN + features
        width = classes + seen
        self.object = nn.Linear(width, H)
        self.pair = nn.Sequential(
            nn.Linear(3 * width + len(GEOMETRY), H), nn.ReLU(), nn.Linear(H, H), nn.ReLU()
        )
        self.layers = nn.ModuleList(
            GraphConv(config.graph_options.make(), H, H) for _ in range(config.layers)
        )
        self.output = nn.Sequential(nn.Linear(3 * H, H), nn.ReLU(), nn.Linear(H, predicates))
        self.register_buffer("frequency", torch.zeros(classes, classes, predicates))
        self.register_buffer("mean", torch.zeros(seen))
        self.register_buffer("spread", torch.ones(seen))

    @classmethod
    def from_facts(cls, config: ScenesConfig, facts: Mapping[str, Any]) -> Self:
        """Rebuild the model that a run folder describes, without its weights."""
        classes, predicates = len(facts["classes"]), len(facts["predicates"])
        return cls(config, classes=classes, predicates=predicates, features=facts["features"])

    def begin_from(self, frequency: Tensor, objects: Tensor) -> None:
        """Take the log odds of `[classes, classes, predicates]`, and the scale of objects."""
        self.frequency.copy_(frequency)
        self.mean.copy_(objects.mean(0))
        spread = objects.std(0, correction=0)
        self.spread.copy_(torch.where(spread > 0, spread, 1.0))

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits of every pair, `[P, predicates]`."""
        subject, other = batch.pairs
        kind = F.one_hot(batch.classes, len(self.frequency)).to(batch.objects.dtype)
        x = torch.cat([kind, (batch.objects - self.mean) / self.spread], -1)  # [N, C + 5 + F]
        s, o = x[subject], x[other]
        e = self.pair(torch.cat([s, o, (s - o).abs(), batch.geometry], -1))  # [P, H]
        h = torch.cat([F.relu(self.object(x)), e])  # [N + P, H]
        for layer in self.layers:
            h = F.relu(layer(h, batch.graph))
        logits = self.output(torch.cat([e, h[subject], h[other]], -1))
        return logits + self.prior(batch)

    def prior(self, batch: Batch) -> Tensor:
        """Return what the classes alone predict: log odds, `[P, predicates]`."""
        subject, other = batch.classes[batch.pairs]
        return self.frequency[subject, other]
