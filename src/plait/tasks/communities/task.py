"""The communities task: its data, batches, loss and scores."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from plait.errors import InputError
from plait.figures import Curve
from plait.tasks.baseline_report import named_scores
from plait.tasks.communities.baselines import k_means, louvain
from plait.tasks.communities.figure import draw_communities
from plait.tasks.communities.model import CommunitiesModel
from plait.tasks.communities.scores import by_size, score_communities
from plait.tasks.links.splits import connections
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
    sampler_of,
)
from plait.training.streams import random_generator
from plait.training.task import Carry, Task, count_weights

TRAINING, VALIDATION = 0, 1
"""Streams of random numbers, which never meet."""

SMALL = 3
"""Nodes that a community of Louvain's has at least, to count for how many there are."""


class Shuffle(NamedTuple):
    """Nodes of a step, and the order in which others' features take the place of theirs."""

    nodes: Batch
    order: Tensor


class CommunitiesTask(Task):
    """Embed the nodes of a graph without labels, and cluster the embeddings by k-means.

    A step distinguishes the embeddings of the graph from those of the same graph with shuffled
    features. Weights are chosen by the loss of a shuffle that is not trained on. Labels, where
    there are any, are compared with, and decide how many communities are asked for.
    """

    name: ClassVar[str] = "communities"
    model_class: ClassVar[type[CommunitiesModel]] = CommunitiesModel
    unit: str = "nodes"
    unlike: str = "that run was trained on other nodes or features"

    def read_data(self, known: Mapping[str, Any]) -> None:
        """Read the graph."""
        config, device = self.config, self.device
        own = {"label": config.label} if config.label else {}
        network: Any = read_graph(config, **own)
        self.network = network
        self.source, self.notes = network.source, network.notes
        require_fitting(config, network)
        self.pairs, self.weights = connections(network.graph)
        if not self.pairs.shape[1]:
            raise InputError(f"{network.source} has no edges; communities need some")
        self.x, self.graph = features_of(network, device), network.graph.to(device)
        self.sampler = sampler_of(config, network)
        self.prepares_ahead = self.sampler is not None
        N = network.num_nodes
        self.units_per_step = N if self.sampler is None else min(config.batch_size, N)
        self.count = self._count(known)

    def _count(self, known: Mapping[str, Any]) -> int:
        """Return how many communities are asked for."""
        config, network = self.config, self.network
        if config.communities > network.num_nodes:
            raise InputError(
                f"--communities {config.communities} is more than the {network.num_nodes} nodes of "
                f"{network.source}"
            )
        if config.communities:
            return config.communities
        if len(network.classes) > 1:
            return len(network.classes)
        if self.louvain is None:
            raise InputError(
                f"{network.source} is too large for Louvain's method, which chooses the number of "
                "communities; give --communities"
            )
        return max(1, int((np.bincount(self.louvain) >= SMALL).sum()))

    @cached_property
    def louvain(self) -> np.ndarray | None:
        """The communities of Louvain's method, by size; None: the graph is too large for it."""
        found = louvain(self.pairs, self.weights, self.network.num_nodes, self.config.seed)
        return None if found is None else by_size(found)

    def facts(self) -> Mapping[str, Any]:
        """Return the model's sizes, and what identifies the graph."""
        return {
            "nodes": self.network.num_nodes,
            "features": count_features(self.network),
            "sha256": self.network.sha256,
            "communities": self.count,
        }

    def summary(self) -> dict[str, str]:
        """Return what a user wants to know before training starts."""
        network, config = self.network, self.config
        first: Any = self.model.encoder.layers[0]
        text = {
            **describe_graph(network, f"{self.count} communities sought"),
            "model": f"Deep Graph Infomax, {config.sizes}, "
            f"{count_weights(self.model):,} parameters",
            "first layer": first.explain(None if self.sampler else self.graph),
            **describe_sampling(config, "nodes"),
        }
        return text | ({"read": "; ".join(network.notes)} if network.notes else {})

    def batch(self, step: int, stream: int = TRAINING) -> Shuffle:
        """Return all nodes, or some with a sample of their neighbours; and a shuffle of theirs."""
        random, N = random_generator(self.config.seed, step, stream), self.network.num_nodes
        if self.sampler is None:
            order = torch.from_numpy(random.permutation(N))
            return Shuffle(Batch(torch.arange(N), None), order)
        seeds = torch.from_numpy(random.choice(N, self.units_per_step, replace=False))
        sample = self.sampler.sample(seeds, step)
        return Shuffle(
            Batch(seeds, sample), torch.from_numpy(random.permutation(len(sample.nodes)))
        )

    def loss(
        self, model: CommunitiesModel, batch: Shuffle, carry: Carry
    ) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Return the mean of −ln p over nodes and shuffled nodes, and the share of right ones."""
        (seeds, sample, _), order = batch
        n = len(seeds)
        graph = self.graph if sample is None else sample.graph.to(self.device)
        nodes = seeds if sample is None else sample.nodes
        h = model.activation(model.encoder(self.x, graph, nodes))[:n]
        other = model.activation(model.encoder(self.x, graph, nodes[order]))[:n]
        summary = model.summarise(h)
        there, shuffled = model.discriminate(h, summary), model.discriminate(other, summary)
        loss = (F.softplus(-there).mean() + F.softplus(shuffled).mean()) / 2
        right = ((there > 0).float().mean() + (shuffled <= 0).float().mean()) / 2
        return loss, {"accuracy": right.detach()}, ()

    def validate(self) -> Mapping[str, float]:
        """Return the loss, and the share of right nodes, of a shuffle that is not trained on."""
        loss, scores, _ = self.loss(self.model, self.batch(0, VALIDATION), ())
        return {"loss": loss.item(), "accuracy": scores["accuracy"].item()}

    def embedding(self) -> Tensor:
        """Return the embeddings of all nodes, `[N, H]`, each from all its neighbours."""
        return self.model.activation(exact_outputs(self.model.encoder, self))

    def communities(self) -> np.ndarray:
        """Return the community of every node by k-means of the embedding, by size, `[N]`."""
        return by_size(k_means(self.embedding(), self.count, self.config.seed))

    def own_scores(self) -> Mapping[str, float]:
        """Return the loss, and the scores of the communities that the embedding gives."""
        return {"loss": self.validate()["loss"], **self._score(self.communities())}

    def baselines(self) -> Mapping[str, float]:
        """Return the scores of Louvain's method, and of k-means of the features."""
        found = {} if self.louvain is None else {"louvain": self.louvain}
        if self.x is not None and self.network.in_memory:
            found["features"] = k_means(self.x, self.count, self.config.seed)
        return named_scores({name: self._score(community) for name, community in found.items()})

    def _score(self, community: np.ndarray) -> dict[str, float]:
        labels = self.network.labels
        return score_communities(self.pairs, self.weights, community, labels)

    def interpret(self, scores: Mapping[str, float]) -> str:
        """Return how many communities there are, and how well they agree with what is known."""
        names = {"": "embedding", "louvain_": "Louvain", "features_": "k-means of the features"}
        found = []
        for prefix, name in names.items():
            if f"{prefix}modularity" not in scores:
                continue
            text = f"{name}: {scores[prefix + 'communities']} communities, modularity "
            text += f"{scores[prefix + 'modularity']:.3f}"
            if f"{prefix}ari" in scores:
                text += f"; with the labels adjusted Rand index {scores[prefix + 'ari']:.3f}, "
                text += f"mutual information {scores[prefix + 'nmi']:.3f}"
            found.append(text)
        return "\n".join(found)

    def title(self, test: Mapping[str, Any] | None) -> str:
        """Return graph, operator and sizes."""
        return f"{self.network.name}: {self.config.sizes}"

    def curves(self, test: Mapping[str, Any] | None) -> Sequence[Curve]:
        """Return the loss, and the share of right nodes."""
        return [Curve("loss", "loss, nats per node"), Curve("accuracy", "accuracy, share of nodes")]

    def draw_tested(self, test: Mapping[str, Any], folder: Path) -> None:
        """Draw the graph with its communities, where it is in memory."""
        network: Any = self.network
        if not network.in_memory:
            return
        path = folder / "communities.png"
        embedding = self.embedding().cpu()
        draw_communities(
            network, embedding, self.communities(), self.louvain, path, title=self.title(test)
        )
