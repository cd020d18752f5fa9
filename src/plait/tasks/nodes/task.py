"""The nodes task: what the training loop asks of it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.errors import InputError
from plait.figures import Curve, draw_curves
from plait.graph_data import LabelledGraph, named_labelled_graph, read_labelled_graph
from plait.graph_data.labelled_graph import UNKNOWN
from plait.tasks.beside import list_scores, verdict
from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.model import NodesModel
from plait.tasks.nodes.network import features_of, require_fitting
from plait.tasks.nodes.parts import cut
from plait.tasks.nodes.picture import draw_network
from plait.tasks.nodes.scores import baselines, score_nodes
from plait.training.alone import train_alone
from plait.training.task import Carry


class NodesTask:
    """Label the nodes of one graph, all of which is there in training but for the labels.

    A step is over the whole graph. The weights that did best on the validation nodes are kept;
    where there are none, those that did best on the training nodes.
    """

    name: ClassVar[str] = "nodes"
    unit: ClassVar[str] = "nodes"
    criterion: ClassVar[str] = "loss"
    lower_is_better: ClassVar[bool] = True

    def __init__(
        self, config: NodesConfig, device: torch.device, known: Mapping[str, Any] | None = None
    ) -> None:
        self.config, self.device = config, device
        self.network = network_of(config)
        self.parts = cut(self.network, split_of(config, self.network), config.seed)
        self.x, self.graph, self.labels = placed(self.network, device)
        self.units_per_step = self.graph.num_nodes
        self.model = NodesModel.from_facts(config, self.facts()).to(device)

    def facts(self) -> Mapping[str, Any]:
        """What rebuilds the model, and what tells whether a network is the same one."""
        network = self.network
        return {
            "nodes": network.graph.num_nodes,
            "features": 0 if network.features is None else network.features.shape[1],
            "classes": list(network.classes),
            "sha256": network.sha256,
        }

    def begin_with(self, model: NodesModel) -> None:
        """Take over the weights of a model trained before."""
        mine, theirs = self.model.state_dict(), model.state_dict()
        if {k: w.shape for k, w in mine.items()} != {k: w.shape for k, w in theirs.items()}:
            raise InputError("that run's network has other nodes, features or classes")
        self.model.load_state_dict(theirs)

    def summary(self) -> dict[str, str]:
        """What a person wants to know before it starts."""
        network, config = self.network, self.config
        F = 0 if network.features is None else network.features.shape[1]
        parts = ", ".join(f"{len(part):,}" for part in self.parts)
        sought = int((self.labels == UNKNOWN).sum())
        parameters = sum(p.numel() for p in self.model.parameters())
        told = {
            "network": f"{network.source}: {network.graph.num_nodes:,} nodes, "
            f"{network.graph.num_edges:,} edges, {f'{F:,}' if F else 'no'} features, "
            f"{len(network.classes)} classes",
            **({"columns": network.columns} if network.columns else {}),
            "parts": f"{parts} nodes to train, validate, test on"
            + (f"; {sought:,} without a label" if sought else ""),
            "model": f"{config.operator}, {config.layers} layers, {config.hidden_size} wide, "
            f"{parameters:,} parameters",
            "first layer": self.model.layers[0].explain(self.graph),
        }
        if not len(self.parts.valid):
            told["validation"] = "none; the weights that do best on the training nodes are kept"
        return told | ({"read": "; ".join(network.notes)} if network.notes else {})

    def start(self) -> Carry:
        """Nothing: every step is over the whole graph."""
        return ()

    def loss(self, step: int, carry: Carry) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Mean nats a training node and the penalty, and the share of right answers."""
        nodes = self.parts.train
        logits, labels = self.model(self.x, self.graph)[nodes], self.labels[nodes]
        accuracy = (logits.detach().argmax(-1) == labels).float().mean()
        return F.cross_entropy(logits, labels) + self.model.penalty(), {"accuracy": accuracy}, ()

    def validate(self) -> Mapping[str, float]:
        """Scores of the validation nodes."""
        nodes = self.parts.valid if len(self.parts.valid) else self.parts.train
        return score_nodes(self.model(self.x, self.graph), self.labels, nodes)

    def test(self) -> Mapping[str, float]:
        """Scores of the test nodes, and beside them those of the same network without the graph."""
        scores = score_nodes(self.model(self.x, self.graph), self.labels, self.parts.test)
        scores |= baselines(self.network, self.parts.train, self.parts.test)
        if self.config.operator != "dense":
            dense = scores_alone(replace(self.config, operator="dense"), self.device)
            scores["dense_accuracy"] = dense["accuracy"]
        return scores

    def remark(self, scores: Mapping[str, float]) -> str:
        """Say what the accuracy means beside those of the baselines."""
        others = {
            "the same network without the graph": scores.get("dense_accuracy"),
            "spreading labels along the graph": scores["spread_accuracy"],
            "always the commonest class": scores["prior"],
        }
        beside = {name: score for name, score in others.items() if score is not None}
        text = f"right in {scores['accuracy']:.1%} of the test nodes"
        return text + list_scores(beside) + verdict(scores["accuracy"], beside)

    def sample(self, step: int) -> str:
        """Write nothing."""
        return ""

    def draw(self, records: list[dict[str, Any]], path: Path) -> None:
        """Draw loss and accuracy over the steps, and after the test the graph with the mistakes."""
        config, name = self.config, self.network.name
        title = f"{name}: {config.operator}, {config.layers} layers, {config.hidden_size} wide"
        curves = [Curve("loss", "loss, nats a node"), Curve("accuracy", "accuracy, share of nodes")]
        for test in (r for r in records if r["kind"] == "test"):
            dense = test.get("dense_accuracy", test["prior"])
            label = "without the graph" if "dense_accuracy" in test else "commonest class"
            curves[1] = replace(curves[1], baseline=(dense, f"{label}, test nodes: {dense:.3g}"))
            with torch.no_grad():
                heard = self.model.represent(self.x, self.graph).to_dense().cpu()
                logits = self.model(self.x, self.graph).cpu()
            draw_network(
                self.network, self.parts, heard, logits, path.with_name("graph.png"), title=title
            )
        draw_curves(records, curves, path, title=title)


class _Alone(NodesTask):
    """The network for its own scores, with nothing beside them and no picture."""

    def test(self) -> Mapping[str, float]:
        return score_nodes(self.model(self.x, self.graph), self.labels, self.parts.test)

    def remark(self, scores: Mapping[str, float]) -> str:
        return ""

    def draw(self, records: list[dict[str, Any]], path: Path) -> None:
        pass


def scores_alone(config: NodesConfig, device: torch.device) -> Mapping[str, float]:
    """Train a network, leave nothing behind, and give the scores of its test nodes."""
    return train_alone(_Alone, config, device)


def network_of(config: NodesConfig) -> LabelledGraph:
    """Read the network that a configuration names; `InputError` where it cannot be learnt from."""
    if config.edges:
        network = read_labelled_graph(
            config.edges, config.nodes, label=config.label, directed=config.directed,
            **config.reading,
        )  # fmt: skip
    else:
        network = named_labelled_graph(config.data)
    if not config.edges and network.labels is None:
        raise InputError(f"the network {config.data!r} has no labels; plait train links takes it")
    if len(network.classes) < 2:
        only = f"only the class {network.classes[0]!r}" if network.classes else "no labels"
        raise InputError(
            f"{config.nodes}: the column {config.label!r} has {only}; two classes at least are "
            "needed to tell them apart"
        )
    require_fitting(config.operator, network)
    return network


def split_of(config: NodesConfig, network: LabelledGraph) -> str:
    """Say how the nodes are cut."""
    if config.split != "auto":
        return config.split
    if network.split is not None:
        return "published"
    return "most" if config.edges else "few"


def placed(network: LabelledGraph, device: torch.device) -> tuple[Tensor | None, Any, Tensor]:
    """Put features, graph and labels on a device."""
    assert network.labels is not None
    return features_of(network, device), network.graph.to(device), network.labels.to(device)
