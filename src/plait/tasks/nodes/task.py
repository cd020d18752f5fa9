"""The nodes task: its data, loss and scores."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.errors import InputError
from plait.figures import Curve
from plait.graph_data.labelled_graph import UNKNOWN
from plait.nn.graph import Graph
from plait.tasks.baseline_report import baseline_scores, list_scores, verdict
from plait.tasks.nodes.baselines import ANSWERS, BASELINES, baselines, simple_answers
from plait.tasks.nodes.consistency import VIEWS, disagreement
from plait.tasks.nodes.data import count_features, describe_graph, features_of, labelled_graph
from plait.tasks.nodes.figure import draw_network
from plait.tasks.nodes.mixture import (
    calibrated,
    choose_mixture,
    describe_mixture,
    mixed,
    smoothed,
    to_probabilities,
)
from plait.tasks.nodes.model import NodesModel
from plait.tasks.nodes.preparation import (
    FEATURES_AS,
    PREPARATIONS,
    choose_preparation,
    choose_structure,
)
from plait.tasks.nodes.sampling import (
    SAMPLING,
    Batch,
    describe_sampling,
    exact_outputs,
    outputs,
    representations,
    sampled,
    sampler_of,
)
from plait.tasks.nodes.scores import score_nodes
from plait.tasks.nodes.search import best_options, usual_options
from plait.tasks.nodes.shares import with_shares_of_graph
from plait.tasks.nodes.splits import split_nodes, split_of
from plait.tasks.nodes.structure import structural_features
from plait.terminal import counted
from plait.training.streams import random_generator
from plait.training.task import Carry, Task, count_weights

PLAIN = {"skip": "none", "norm": "none", "readout": "convolution"}
"""Options of a model that a summary names where they are others."""


class NodesTask(Task):
    """Label the nodes of one graph, all of which is there in training but for the labels.

    A step is over the whole graph. The weights that did best on the validation nodes are kept;
    where there are none, those that did best on the training nodes.
    """

    name: ClassVar[str] = "nodes"
    model_class: ClassVar[type[NodesModel]] = NodesModel
    unit: str = "nodes"
    without_graph: ClassVar[Mapping[str, Any]] = {"operator": "dense"}
    unlike: str = "that run was trained on other nodes, features or classes"

    def read_data(self, known: Mapping[str, Any]) -> None:
        """Read the graph and split its nodes."""
        network: Any = labelled_graph(self.config)
        self.network = network
        self.source, self.notes, self.sha256 = network.source, network.notes, network.sha256
        fresh = not known or "encodings" in known  # version 0.1.0 kept none
        self.encodings = list(network.encodings) if network.in_memory and fresh else []
        how = split_of(self.config, network)
        self.splits, self.by_class = split_nodes(network, how, self.config.seed), how == "few"
        self.answers_alone = bool(known) and "mixture" not in known  # a run of version 0.1.0
        self.mixes = not self.answers_alone and self._mixes()
        self.features_as = self._features_as(known)
        if self.features_as == "structure":
            self.network = network = replace(network, features=structural_features(network.graph))
        elif network.in_memory and network.features is not None:
            prepare = PREPARATIONS[self.features_as]
            self.network = network = replace(network, features=prepare(network.features))
        assert network.labels is not None
        self.x, self.labels = features_of(network, self.device), network.labels.to(self.device)
        self.units_per_step = network.num_nodes
        self.sampler = sampler_of(self.config, network)
        self.splits_batches = self.prepares_ahead = self.sampler is not None
        if self.splits_batches:
            size = self.config.batch_size * self.ranks.count
            self.units_per_step = min(size, len(self.splits.train))

    def _features_as(self, known: Mapping[str, Any]) -> str:
        """Return how features are prepared: as in the run to begin from, as asked, or as found."""
        network, asked = self.network, self.config.features
        if known or not network.in_memory:
            return known.get("features_as", "as-read")
        if network.features is None and asked == "auto":
            wanted = self.config.operator != "dense"  # the ablation is to know no graph
            return choose_structure(network, self.splits) if wanted else "as-read"
        if network.features is None and asked != "structure":
            return "as-read"
        if network.features is not None and asked == "structure":
            raise InputError(
                f"{network.source} has features; --features structure is for graphs without any"
            )
        return choose_preparation(network, self.splits) if asked == "auto" else asked

    def _mixes(self) -> bool:
        """Return whether the answer is to be a mixture, and the nodes to choose it by are there."""
        asked = self.config.smooth and self.config.operator != "dense"
        return asked and self.network.in_memory and len(self.splits.valid) > 0

    @cached_property
    def graph(self) -> Graph:
        """The whole graph, which samples do without."""
        return self.network.graph.to(self.device)

    def facts(self) -> Mapping[str, Any]:
        """Return the model's sizes, and what identifies the graph."""
        facts = {
            "nodes": self.network.num_nodes,
            "features": count_features(self.network),
            "classes": list(self.network.classes),
            "sha256": self.sha256,
        }
        if self.features_as != "as-read":
            facts["features_as"] = self.features_as
        if self.encodings:
            facts["encodings"] = self.encodings
        if self.network.in_memory and self.network.relations:
            facts["relations"] = list(self.network.relations)
        if self.network.in_memory and self.network.graph.edge_size:
            facts["edge_size"] = self.network.graph.edge_size
            facts["edge_encodings"] = list(self.network.edge_encodings)
        return facts if self.answers_alone else {**facts, "mixture": self.mixes}

    def summary(self) -> dict[str, str]:
        """Return what a user wants to know before training starts."""
        network, config = self.network, self.config
        parts = ", ".join(f"{len(part):,}" for part in self.splits)
        unknown = int((self.labels == UNKNOWN).sum())
        text = {
            **describe_graph(network, counted(len(network.classes), "class", "classes")),
            "split": f"{parts} nodes to train, validate, test on"
            + (f"; {unknown:,} without a label" if unknown else ""),
            **self._describe_features(),
            "model": f"{config.sizes}, "
            + "".join(
                f"{name} {getattr(config, name)}, "
                for name, usual in PLAIN.items()
                if getattr(config, name) != usual
            )
            + f"{count_weights(self.model):,} parameters",
            "first layer": self.model.layers[0].explain(None if self.sampler else self.graph),
            **describe_sampling(config, "nodes"),
        }
        if not len(self.splits.valid):
            text["validation"] = "none; the weights that do best on the training nodes are kept"
        return text | ({"read": "; ".join(network.notes)} if network.notes else {})

    def _describe_features(self) -> dict[str, str]:
        if self.network.features is None:
            return {}
        chosen = "; chosen by linear models on the validation nodes"
        chooses = self.network.in_memory and self.config.features == "auto"
        by = chosen if chooses and len(self.splits.valid) else ""
        return {"features": f"{FEATURES_AS[self.features_as]}{by}"}

    def search(self, seconds: float, fixed: Collection[str]) -> Mapping[str, Any]:
        """Return the kind and size of network that suits the graph, by the validation nodes."""
        return best_options(self, seconds, fixed) if seconds else usual_options(self, fixed)

    @property
    def own_and_averaged(self) -> tuple[Tensor, Tensor] | None:
        """Scores of linear models of own features and of averages; None where there are none."""
        known = self._simple
        return (known["linear"], known["averaged"]) if "linear" in known else None

    def batch(self, step: int) -> Batch:
        """Return the nodes to train on: all of them, or some with a sample of their neighbours."""
        if self.sampler is None:
            return Batch(self.splits.train, None)
        random = random_generator(self.config.seed, step, SAMPLING)
        chosen = random.choice(len(self.splits.train), self.units_per_step, replace=False)
        seeds = self.splits.train[torch.from_numpy(chosen)]
        own = seeds[self.ranks.part(len(seeds), self.unit)]
        among = seeds if self.ranks.count > 1 else None
        return sampled(self, own, step, among)

    def loss(
        self, model: NodesModel, batch: Batch, carry: Carry
    ) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Return mean nats per training node plus the penalty, and the share of right answers.

        With `consistency` each node has several answers, whose disagreement is added.
        """
        labels, weight = self.labels[batch.seeds], self.config.consistency
        if weight:
            views = torch.stack([outputs(model, self, batch, every=True) for _ in range(VIEWS)])
            logits = views[:, batch.seeds] if batch.sample is None else views
            loss = F.cross_entropy(logits.flatten(0, 1), labels.repeat(VIEWS))
            loss = loss + weight * disagreement(views.softmax(-1))
        else:
            logits = outputs(model, self, batch)
            loss = F.cross_entropy(logits, labels)
        accuracy = (logits.detach().argmax(-1) == labels).float().mean()
        return loss + model.penalty(), {"accuracy": accuracy}, ()

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

    @torch.no_grad()
    def answers(self) -> Tensor:
        """Return the log probabilities of all nodes, of the mixture where there is one."""
        logits = self.logits().double()
        if not self.mixes:
            return logits.log_softmax(-1)
        weights, found, _ = self._mix(logits)
        return mixed(found, weights).to(logits.device)

    @torch.no_grad()
    def mixture(self) -> dict[str, float]:
        """Return the weights of the mixture, chosen on the validation nodes."""
        return self._mix(self.logits().double())[0] if self.mixes else {"network": 1.0}

    @torch.no_grad()
    def _mix(self, logits: Tensor) -> tuple[dict[str, float], Mapping[str, Tensor], Tensor | None]:
        """Return weights, the candidates' probabilities, and the counts of `choose_mixture`."""
        labels, counts = self.labels.cpu(), None
        found = self._candidates(logits.softmax(-1).cpu())
        if self.by_class:
            found, counts = with_shares_of_graph(found, labels, self.splits)
        return choose_mixture(found, labels, self.splits.valid, counts), found, counts

    def _candidates(self, network: Tensor) -> Mapping[str, Tensor]:
        """Return calibrated probabilities of all that is mixed, the network's own first."""
        labels, splits = self.labels.cpu(), self.splits
        found = {"network": network, **smoothed(network, self.network.graph, labels, splits)}
        found |= {ANSWERS[name]: to_probabilities(z) for name, z in self._simple.items()}
        return {name: calibrated(p, labels, splits.valid) for name, p in found.items()}

    @cached_property
    def _simple(self) -> Mapping[str, Tensor]:
        """The answers without a neural network, where the graph is in memory."""
        network = self.network
        return simple_answers(network, self.splits) if network.in_memory else {}

    def own_scores(self) -> Mapping[str, float]:
        """Return the scores of the test nodes, and where they are a mixture's, the network's."""
        if not self.mixes:
            return self._score(self.splits.test)
        test, alone = self.splits.test, self._score(self.splits.test)
        scores = score_nodes(self.answers()[test], self.labels[test])
        return {**scores, "network_accuracy": alone["accuracy"]}

    def _score(self, nodes: Tensor) -> dict[str, float]:
        if self.sampler is None:
            return score_nodes(self.logits(nodes), self.labels[nodes])
        parts = nodes.chunk(self.ranks.count)
        found = self.ranks.map(lambda some: (self.logits(some),), parts)
        return score_nodes(torch.cat([y for (y,) in found]), self.labels[nodes])

    def baselines(self) -> Mapping[str, float]:
        """Return the accuracies of what has no neural network."""
        return baselines(self.network, self.splits, self._simple)

    def interpret(self, scores: Mapping[str, float]) -> str:
        """Return what the accuracy means next to the baselines'."""
        others = baseline_scores(scores, BASELINES, "accuracy")
        others["the most frequent class"] = scores["prior"]
        text = f"accuracy {scores['accuracy']:.1%} on the test nodes"
        if "network_accuracy" in scores:
            weights, _, counts = self._mix(self.logits().detach().double())
            more = ", corrected for label shift" * (counts is not None)
            text += f" ({describe_mixture(weights)}{more}, by validation; the network alone: "
            text += f"{scores['network_accuracy']:.1%})"
        return text + list_scores(others) + verdict(scores["accuracy"], others)

    def title(self, test: Mapping[str, Any] | None) -> str:
        """Return graph, operator and sizes."""
        return f"{self.network.name}: {self.config.sizes}"

    def curves(self, test: Mapping[str, Any] | None) -> Sequence[Curve]:
        """Return loss and accuracy, with that of the model without the graph."""
        level = None
        if test is not None:
            dense = test.get("dense_accuracy", test["prior"])
            label = "without the graph" if "dense_accuracy" in test else "the most frequent class"
            level = dense, f"{label}, test nodes: {dense:.3g}"
        return [
            Curve("loss", "loss, nats per node"),
            Curve("accuracy", "accuracy, share of nodes", level),
        ]

    def draw_tested(self, test: Mapping[str, Any], folder: Path) -> None:
        """Draw the graph with the mistakes, where it is in memory."""
        if not self.network.in_memory:
            return
        h = representations(self.model, self).to_dense().cpu()
        logits = self.answers().cpu()
        draw_network(
            self.network, self.splits, h, logits, folder / "graph.png", title=self.title(test)
        )
