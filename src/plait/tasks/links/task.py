"""The links task: its data, batches, loss and scores."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from plait.figures import Curve
from plait.tasks.baseline_report import baseline_scores, list_scores, verdict
from plait.tasks.links.baselines import baselines
from plait.tasks.links.model import LinksModel
from plait.tasks.links.scores import area, nats, score_held_out
from plait.tasks.links.splits import TRAINING, non_edges, numbers_of, split_edges
from plait.tasks.nodes.data import (
    count_features,
    describe_graph,
    features_of,
    read_graph,
    require_fitting,
)
from plait.tasks.nodes.sampling import (
    Batch,
    describe_sampling,
    exact_outputs,
    outputs,
    sampler_of,
)
from plait.training.streams import random_generator
from plait.training.task import Carry, Task, count_weights

BASELINES = {
    "dense": "the same network without the graph",
    "common_neighbours": "common neighbours",
    "adamic_adar": "Adamic–Adar",
    "resource_allocation": "resource allocation",
    "katz": "Katz's walks",
    "degree": "product of degrees",
}
"""What a model is compared with, by the beginning of the scores' names."""


class LinksTask(Task):
    """Classify pairs as connected or not, over a graph that has no held-out connection.

    A step is over all connections to train on and as many pairs drawn anew, which are none of
    these. Whether a pair is held out is not known in training: neither the encoder nor what is
    drawn depends on it.
    """

    name: ClassVar[str] = "links"
    model_class: ClassVar[type[LinksModel]] = LinksModel
    unit: str = "connections"
    monitor: str = "auc"
    lower_is_better: ClassVar[bool] = False
    without_graph: ClassVar[Mapping[str, Any]] = {"operator": "dense"}
    unlike: str = "that run's network has other nodes or features"

    def read_data(self, known: Mapping[str, Any]) -> None:
        """Read the graph and hold connections out."""
        config, device = self.config, self.device
        self.network = network = read_graph(config)
        self.source, self.notes = network.source, network.notes
        require_fitting(config, network)
        self.splits = split_edges(network, config.valid_share, config.test_share, config.seed)
        self.x, self.graph = features_of(network, device), self.splits.graph.to(device)
        self.pairs = self.splits.train.to(device)
        self.taken = numbers_of(self.splits.train, self.graph.num_nodes)
        self.taken.sort()
        self.units_per_step = self.pairs.shape[1]
        self.sampler = sampler_of(config, self.splits.graph)
        if self.sampler is not None:
            self.units_per_step = min(config.batch_size, self.pairs.shape[1])

    def facts(self) -> Mapping[str, Any]:
        """Return the model's sizes, and what identifies the graph."""
        return {
            "nodes": self.network.num_nodes,
            "features": count_features(self.network),
            "sha256": self.network.sha256,
        }

    def summary(self) -> dict[str, str]:
        """Return what a user wants to know before training starts."""
        network, config, s = self.network, self.config, self.splits
        parts = ", ".join(f"{part.shape[1]:,}" for part in (s.train, s.valid, s.test))
        first: Any = self.model.encoder.layers[0]
        text = {
            **describe_graph(network),
            "parts": f"{parts} connections to train, validate, test on, with as many pairs that "
            "are none",
            "model": f"{config.operator}, {config.layers} layers, {config.hidden_size} wide, "
            f"scored by {config.scorer}, {count_weights(self.model):,} parameters",
            "first layer": first.explain(self.graph),
            **describe_sampling(config, "connections"),
        }
        return text | ({"read": "; ".join(network.notes)} if network.notes else {})

    def batch(self, step: int) -> tuple[Tensor, Batch]:
        """Return connections to train on, then as many pairs drawn anew, `[2, 2 n]`; their nodes.

        Pairs count by the order of the nodes. Without samples these are all connections and nodes.
        """
        n, N, pairs = self.units_per_step, self.graph.num_nodes, self.pairs
        generator = random_generator(self.config.seed, step, TRAINING)
        if self.sampler is not None:
            chosen = generator.choice(pairs.shape[1], n, replace=False)
            pairs = pairs[:, torch.from_numpy(chosen).to(self.device)]
        others = torch.from_numpy(non_edges(generator, n, N, self.taken))
        pairs = torch.cat([pairs, others.to(self.device)], 1)
        if self.sampler is None:
            return pairs, Batch(torch.arange(N, device=self.device), None)
        seeds, numbers = pairs.unique(return_inverse=True)
        return numbers, Batch(seeds, self.sampler.sample(seeds, step))

    def loss(
        self, model: LinksModel, batch: tuple[Tensor, Batch], carry: Carry
    ) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Return the mean of −ln p over both kinds of pairs, and the area under the curve."""
        pairs, nodes = batch
        z = outputs(model.encoder, self, nodes)
        there, not_there = model.score(z, pairs).split(pairs.shape[1] // 2)
        return nats(there, not_there), {"auc": area(there, not_there).float()}, ()

    def validate(self) -> Mapping[str, float]:
        """Return the scores of the connections held out to choose weights."""
        return self._score(self.splits.valid, self.splits.valid_non)

    def own_scores(self) -> Mapping[str, float]:
        """Return the scores of the connections held out to test on."""
        return self._score(self.splits.test, self.splits.test_non)

    def baselines(self) -> Mapping[str, float]:
        """Return the scores of what learns nothing."""
        s = self.splits
        return baselines(s.graph, s.test, s.test_non, self.config.hits)

    def interpret(self, scores: Mapping[str, float]) -> str:
        """Return what the area under the curve means next to the baselines'."""
        others = baseline_scores(scores, BASELINES, "auc")
        text = f"a connection scores higher than another pair in {scores['auc']:.1%} of cases"
        return text + list_scores(others) + verdict(scores["auc"], others)

    def title(self, test: Mapping[str, Any] | None) -> str:
        """Return graph, operator and sizes."""
        config = self.config
        return (
            f"{self.network.name}: {config.operator}, {config.layers} layers, "
            f"{config.hidden_size} wide, {config.scorer}"
        )

    def curves(self, test: Mapping[str, Any] | None) -> Sequence[Curve]:
        """Return loss and area, with the best baseline's."""
        level = None
        if test is not None:
            others = baseline_scores(test, BASELINES, "auc")
            best = max(others, key=others.__getitem__)
            level = others[best], f"{best}, test: {others[best]:.3f}"
        return [
            Curve("loss", "loss, nats per pair"), Curve("auc", "area under the ROC curve", level)
        ]  # fmt: skip

    def _score(self, there: Tensor, not_there: Tensor) -> dict[str, float]:
        z = exact_outputs(self.model.encoder, self)
        return score_held_out(self.model, z, there, not_there, self.config.hits)
