"""The links task: what the training loop asks of it."""

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
from plait.tasks.beside import list_scores, verdict
from plait.tasks.links.config import LinksConfig
from plait.tasks.links.model import LinksModel
from plait.tasks.links.parts import TRAINING, Links, cut, non_edges, numbers_of
from plait.tasks.links.scores import area, baselines, score_pairs
from plait.tasks.nodes.network import features_of, require_fitting
from plait.training.alone import train_alone
from plait.training.streams import random_generator
from plait.training.task import Carry

BESIDE = {
    "dense": "the same network without the graph",
    "common_neighbours": "common neighbours",
    "adamic_adar": "Adamic–Adar",
    "degree": "product of degrees",
}
"""What stands beside a network's scores, by the beginning of the scores' names."""


class LinksTask:
    """Tell connections from pairs without one, over a graph that has no held-out connection.

    A step is over all connections to train on and as many pairs drawn anew, which are none of
    these. Whether a pair is held out is not known in training: neither the encoder nor what is
    drawn depends on it.
    """

    name: ClassVar[str] = "links"
    unit: ClassVar[str] = "connections"
    criterion: ClassVar[str] = "auc"
    lower_is_better: ClassVar[bool] = False

    def __init__(
        self, config: LinksConfig, device: torch.device, known: Mapping[str, Any] | None = None
    ) -> None:
        self.config, self.device = config, device
        self.network = network_of(config)
        self.links = cut(self.network, config.valid_share, config.test_share, config.seed)
        self.x = features_of(self.network, device)
        self.graph = self.links.graph.to(device)
        self.pairs = self.links.train.to(device)
        self.taken = numbers_of(self.links.train, self.graph.num_nodes)
        self.taken.sort()
        self.units_per_step = self.pairs.shape[1]
        self.model = LinksModel.from_facts(config, self.facts()).to(device)

    def facts(self) -> Mapping[str, Any]:
        """What rebuilds the model, and what tells whether a network is the same one."""
        network = self.network
        return {
            "nodes": network.graph.num_nodes,
            "features": 0 if network.features is None else network.features.shape[1],
            "sha256": network.sha256,
        }

    def begin_with(self, model: LinksModel) -> None:
        """Take over the weights of a model trained before."""
        mine, theirs = self.model.state_dict(), model.state_dict()
        if {k: w.shape for k, w in mine.items()} != {k: w.shape for k, w in theirs.items()}:
            raise InputError("that run's network has other nodes or features")
        self.model.load_state_dict(theirs)

    def summary(self) -> dict[str, str]:
        """What a person wants to know before it starts."""
        network, config, links = self.network, self.config, self.links
        features = 0 if network.features is None else network.features.shape[1]
        parts = ", ".join(f"{part.shape[1]:,}" for part in (links.train, links.valid, links.test))
        parameters = sum(p.numel() for p in self.model.parameters())
        first: Any = self.model.encoder.layers[0]
        told = {
            "network": f"{network.source}: {network.graph.num_nodes:,} nodes, "
            f"{f'{features:,}' if features else 'no'} features",
            **({"columns": network.columns} if network.columns else {}),
            "parts": f"{parts} connections to train, validate, test on, with as many pairs that "
            "are none",
            "model": f"{config.operator}, {config.layers} layers, {config.hidden_size} wide, "
            f"scored by {config.scorer}, {parameters:,} parameters",
            "first layer": first.explain(self.graph),
        }
        return told | ({"read": "; ".join(network.notes)} if network.notes else {})

    def start(self) -> Carry:
        """Nothing: every step is over the whole graph."""
        return ()

    def loss(self, step: int, carry: Carry) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Mean of −ln p over connections and as many other pairs, and the area under the curve."""
        n = self.pairs.shape[1]
        generator = random_generator(self.config.seed, step, TRAINING)
        others = torch.from_numpy(non_edges(generator, n, self.graph.num_nodes, self.taken))
        pairs = torch.cat([self.pairs, others.to(self.device)], 1)
        there, not_there = self.model(self.x, self.graph, pairs).split(n)
        return _nats(there, not_there), {"auc": area(there, not_there).float()}, ()

    def validate(self) -> Mapping[str, float]:
        """Scores of the connections held out to choose weights."""
        links = self.links
        return score_held_out(
            self.model, self.x, self.graph, links.valid, links.valid_non, self.config.hits
        )

    def test(self) -> Mapping[str, float]:
        """Scores of the connections held out to test on, and those of others beside them."""
        return score_tested(self.model, self.x, self.links, self.config)

    def remark(self, scores: Mapping[str, float]) -> str:
        """Say what the area under the curve means beside those of the others."""
        beside = {text: scores[f"{name}_auc"] for name, text in BESIDE.items()
                  if f"{name}_auc" in scores}  # fmt: skip
        text = f"a connection scores higher than another pair in {scores['auc']:.1%} of cases"
        return text + list_scores(beside) + verdict(scores["auc"], beside)

    def sample(self, step: int) -> str:
        """Write nothing."""
        return ""

    def draw(self, records: list[dict[str, Any]], path: Path) -> None:
        """Draw loss and area over the steps, with the best of those who learn nothing."""
        config = self.config
        title = (
            f"{self.network.name}: {config.operator}, {config.layers} layers, "
            f"{config.hidden_size} wide, {config.scorer}"
        )
        curves = [Curve("loss", "loss, nats a pair"), Curve("auc", "area under the ROC curve")]
        for test in (r for r in records if r["kind"] == "test"):
            known = {text: test[f"{n}_auc"] for n, text in BESIDE.items() if f"{n}_auc" in test}
            best = max(known, key=lambda name: known[name])
            label = f"{best}, test: {known[best]:.3f}"
            curves[1] = replace(curves[1], baseline=(known[best], label))
        draw_curves(records, curves, path, title=title)


class _Alone(LinksTask):
    """The network for its own scores, with nothing beside them and no picture."""

    def test(self) -> Mapping[str, float]:
        links = self.links
        return score_held_out(
            self.model, self.x, self.graph, links.test, links.test_non, self.config.hits
        )

    def remark(self, scores: Mapping[str, float]) -> str:
        return ""

    def draw(self, records: list[dict[str, Any]], path: Path) -> None:
        pass


def score_tested(
    model: LinksModel, x: Tensor | None, links: Links, config: LinksConfig
) -> dict[str, float]:
    """Score a model on the test part; beside it the network without the graph, and `baselines`."""
    there, not_there, device = links.test, links.test_non, next(model.parameters()).device
    scores = score_held_out(model, x, links.graph.to(device), there, not_there, config.hits)
    if config.operator != "dense":
        dense = train_alone(_Alone, replace(config, operator="dense"), device)
        scores |= {f"dense_{name}": value for name, value in dense.items()}
    return scores | baselines(links.graph, there, not_there, config.hits)


def score_held_out(
    model: LinksModel, x: Tensor | None, graph: Any, there: Tensor, not_there: Tensor, k: int
) -> dict[str, float]:
    """Score a model, in evaluation mode, on held-out pairs: `loss` and those of `score_pairs`."""
    pairs = torch.cat([there, not_there], 1).to(graph.device)
    a, b = model(x, graph, pairs).double().split([there.shape[1], not_there.shape[1]])
    return {"loss": _nats(a, b).item(), **score_pairs(a, b, k)}


def network_of(config: LinksConfig) -> LabelledGraph:
    """Read the network that a configuration names; `InputError` where it cannot be learnt from."""
    if config.edges:
        network = read_labelled_graph(config.edges, config.nodes or None, **config.reading)
    else:
        network = named_labelled_graph(config.data)
    require_fitting(config.operator, network)
    return network


def _nats(there: Tensor, not_there: Tensor) -> Tensor:
    """Mean of −ln p, half of it over the connections and half over the other pairs."""
    return (F.softplus(-there).mean() + F.softplus(not_there).mean()) / 2
