"""The nodes task: its data, loss and scores."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.figures import Curve
from plait.graph_data.folder import GraphFolder
from plait.graph_data.labelled_graph import UNKNOWN
from plait.nn.graph import Graph
from plait.tasks.baseline_report import baseline_scores, list_scores, verdict
from plait.tasks.nodes.baselines import baselines
from plait.tasks.nodes.data import count_features, describe_graph, features_of, labelled_graph
from plait.tasks.nodes.figure import draw_network
from plait.tasks.nodes.model import NodesModel
from plait.tasks.nodes.sampling import (
    SAMPLING,
    Batch,
    describe_sampling,
    exact_outputs,
    outputs,
    representations,
    sampler_of,
)
from plait.tasks.nodes.scores import score_nodes
from plait.tasks.nodes.splits import split_nodes, split_of
from plait.training.streams import random_generator
from plait.training.task import Carry, Task, count_weights

BASELINES = {
    "dense": "the same network without the graph",
    "spread": "spreading labels along the graph",
    "linear": "a linear model of the features",
    "averaged": "a linear model of features averaged over neighbours",
    "corrected": "a linear model with Correct & Smooth",
}
"""What a model is compared with, by the beginning of the scores' names."""


class NodesTask(Task):
    """Label the nodes of one graph, all of which is there in training but for the labels.

    A step is over the whole graph. The weights that did best on the validation nodes are kept;
    where there are none, those that did best on the training nodes.
    """

    name: ClassVar[str] = "nodes"
    model_class: ClassVar[type[NodesModel]] = NodesModel
    unit: str = "nodes"
    without_graph: ClassVar[Mapping[str, Any]] = {"operator": "dense"}
    unlike: str = "that run's network has other nodes, features or classes"

    def read_data(self, known: Mapping[str, Any]) -> None:
        """Read the graph and split its nodes."""
        self.network = network = labelled_graph(self.config)
        self.source, self.notes = network.source, network.notes
        self.splits = split_nodes(network, split_of(self.config, network), self.config.seed)
        assert network.labels is not None
        self.x, self.labels = features_of(network, self.device), network.labels.to(self.device)
        self.units_per_step = network.num_nodes
        self.sampler = sampler_of(self.config, network)
        self.splits_batches = self.sampler is not None
        if self.splits_batches:
            size = self.config.batch_size * self.ranks.count
            self.units_per_step = min(size, len(self.splits.train))

    @cached_property
    def graph(self) -> Graph:
        """The whole graph, which samples do without."""
        return self.network.graph.to(self.device)

    def facts(self) -> Mapping[str, Any]:
        """Return the model's sizes, and what identifies the graph."""
        return {
            "nodes": self.network.num_nodes,
            "features": count_features(self.network),
            "classes": list(self.network.classes),
            "sha256": self.network.sha256,
        }

    def summary(self) -> dict[str, str]:
        """Return what a user wants to know before training starts."""
        network, config = self.network, self.config
        parts = ", ".join(f"{len(part):,}" for part in self.splits)
        unknown = int((self.labels == UNKNOWN).sum())
        text = {
            **describe_graph(network, f"{len(network.classes)} classes"),
            "parts": f"{parts} nodes to train, validate, test on"
            + (f"; {unknown:,} without a label" if unknown else ""),
            "model": f"{config.operator}, {config.layers} layers, {config.hidden_size} wide, "
            f"{count_weights(self.model):,} parameters",
            "first layer": self.model.layers[0].explain(None if self.sampler else self.graph),
            **describe_sampling(config, "nodes"),
        }
        if not len(self.splits.valid):
            text["validation"] = "none; the weights that do best on the training nodes are kept"
        return text | ({"read": "; ".join(network.notes)} if network.notes else {})

    def batch(self, step: int) -> Batch:
        """Return the nodes to train on: all of them, or some with a sample of their neighbours."""
        if self.sampler is None:
            return Batch(self.splits.train, None)
        random = random_generator(self.config.seed, step, SAMPLING)
        chosen = random.choice(len(self.splits.train), self.units_per_step, replace=False)
        seeds = self.splits.train[torch.from_numpy(chosen)]
        own = seeds[self.ranks.part(len(seeds), self.unit)]
        among = seeds if self.ranks.count > 1 else None
        return Batch(own, self.sampler.sample(own, step, among=among))

    def loss(
        self, model: NodesModel, batch: Batch, carry: Carry
    ) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Return mean nats per training node plus the penalty, and the share of right answers."""
        logits, labels = outputs(model, self, batch), self.labels[batch.seeds]
        accuracy = (logits.detach().argmax(-1) == labels).float().mean()
        return F.cross_entropy(logits, labels) + model.penalty(), {"accuracy": accuracy}, ()

    def terms(self, batch: Batch) -> float:
        """Return the number of nodes."""
        return float(len(batch.seeds))

    def validate(self) -> Mapping[str, float]:
        """Return the scores of the validation nodes."""
        nodes = self.splits.valid if len(self.splits.valid) else self.splits.train
        return self._score(nodes)

    def logits(self, nodes: Tensor | None = None) -> Tensor:
        """Return the logits of some nodes, or of all, each from all its neighbours."""
        return exact_outputs(self.model, self, nodes)

    def own_scores(self) -> Mapping[str, float]:
        """Return the scores of the test nodes."""
        return self._score(self.splits.test)

    def _score(self, nodes: Tensor) -> dict[str, float]:
        if self.sampler is None:
            return score_nodes(self.logits(nodes), self.labels[nodes])
        parts = nodes.chunk(self.ranks.count)
        found = self.ranks.map(lambda some: (self.logits(some),), parts)
        return score_nodes(torch.cat([y for (y,) in found]), self.labels[nodes])

    def baselines(self) -> Mapping[str, float]:
        """Return the accuracies of what has no neural network."""
        return baselines(self.network, self.splits)

    def interpret(self, scores: Mapping[str, float]) -> str:
        """Return what the accuracy means next to the baselines'."""
        others = baseline_scores(scores, BASELINES, "accuracy")
        others["always the commonest class"] = scores["prior"]
        text = f"right in {scores['accuracy']:.1%} of the test nodes"
        return text + list_scores(others) + verdict(scores["accuracy"], others)

    def title(self, test: Mapping[str, Any] | None) -> str:
        """Return graph, operator and sizes."""
        config = self.config
        return (
            f"{self.network.name}: {config.operator}, {config.layers} layers, "
            f"{config.hidden_size} wide"
        )

    def curves(self, test: Mapping[str, Any] | None) -> Sequence[Curve]:
        """Return loss and accuracy, with that of the model without the graph."""
        level = None
        if test is not None:
            dense = test.get("dense_accuracy", test["prior"])
            label = "without the graph" if "dense_accuracy" in test else "commonest class"
            level = dense, f"{label}, test nodes: {dense:.3g}"
        return [
            Curve("loss", "loss, nats per node"),
            Curve("accuracy", "accuracy, share of nodes", level),
        ]

    def draw_tested(self, test: Mapping[str, Any], folder: Path) -> None:
        """Draw the graph with the mistakes, where it is in memory."""
        if isinstance(self.network, GraphFolder):
            return
        h = representations(self.model, self).to_dense().cpu()
        logits = self.logits().cpu()
        draw_network(
            self.network, self.splits, h, logits, folder / "graph.png", title=self.title(test)
        )
