"""The links task: its data, batches, loss and scores."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from plait.figures import Curve
from plait.nn.graph import Graph
from plait.tasks.baseline_report import baseline_scores, list_scores, named_scores, verdict
from plait.tasks.links.baselines import measures_of
from plait.tasks.links.hard import hard_pairs
from plait.tasks.links.mixture import Mixture
from plait.tasks.links.model import LinksModel, Shared
from plait.tasks.links.scores import area, nats, score_pairs
from plait.tasks.links.splits import (
    HARD,
    TRAINING,
    connections,
    non_edges,
    numbers_of,
    split_edges,
)
from plait.tasks.links.trial import Trial
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
    sampled,
    sampler_of,
)  # fmt: skip
from plait.training.streams import random_generator
from plait.training.task import Carry, Task, count_weights

BASELINES = {
    "dense": "the same network without the graph",
    "network": "the network alone",
    "common_neighbours": "common neighbours",
    "adamic_adar": "Adamic–Adar",
    "resource_allocation": "resource allocation",
    "katz": "Katz index",
    "pagerank": "personalised PageRank",
    "degree": "preferential attachment",
    "embedding": "embedding by random walks",
    "features": "cosine of features",
}
"""What the answer is compared with, by the beginning of the scores' names."""

Scored = Mapping[str, Tensor]
"""Scores of pairs by name: the network's and those of what is not trained."""

PAIRS = 2**16
"""Pairs that are scored at once."""


class PairBatch(NamedTuple):
    """Pairs of a step, half of them edges, by their places among the nodes.

    `graph` is what the layers see, None: a sample; `shared` are the pairs' common neighbours.
    """

    pairs: Tensor
    nodes: Batch
    graph: Graph | None
    shared: Shared


class LinksTask(Task):
    """Classify pairs as connected or not, over a graph that has no held-out edge.

    A step hides a share of the edges to train on from the layers, and is over these and as
    many pairs drawn anew, which are no edges to train on. Whether a pair is held out is not
    known in training: neither the encoder nor what is drawn depends on it.

    The answer is a `Mixture` of the network's logit and the scores of `measures_of`, weighted on
    the edges that are held out to validate on, among pairs drawn by chance and hard ones. Runs
    without the graph, and those of version 0.1.0, answer with the network alone.
    """

    name: ClassVar[str] = "links"
    model_class: ClassVar[type[LinksModel]] = LinksModel
    unit: str = "edges"
    monitor: str = "auc"
    lower_is_better: ClassVar[bool] = False
    without_graph: ClassVar[Mapping[str, Any]] = {"operator": "dense"}
    unlike: str = "that run was trained on other nodes or features"

    def read_data(self, known: Mapping[str, Any]) -> None:
        """Read the graph and hold edges out."""
        config, device = self.config, self.device
        self.network = network = read_graph(config)
        self.source, self.notes = network.source, network.notes
        require_fitting(config, network)
        self.splits = split_edges(network, config.valid_share, config.test_share, config.seed)
        self.x, self.graph = features_of(network, device), self.splits.graph.to(device)
        self.earlier = bool(known) and "mixed" not in known  # a run of version 0.1.0
        self.mixed = config.operator != "dense" and not self.earlier
        self.x = self.x if self.x is None or self.earlier else of_length_one(self.x)
        self.pairs = self.splits.train.to(device)
        self.taken = numbers_of(self.splits.train, self.graph.num_nodes)
        self.taken.sort()
        count = self.pairs.shape[1]
        hides = self.mixed and not config.sample
        self.hidden = min(round(config.hide * count), count - 1) if hides else 0
        self.units_per_step = self.hidden or count
        self.sampler = sampler_of(config, self.splits.graph)
        self.splits_batches = self.prepares_ahead = self.sampler is not None
        if self.splits_batches:
            size = config.batch_size * self.ranks.count
            self.units_per_step = min(size, self.pairs.shape[1])

    def facts(self) -> Mapping[str, Any]:
        """Return the model's sizes, and what identifies the graph."""
        return {
            "nodes": self.network.num_nodes,
            "features": count_features(self.network),
            "sha256": self.network.sha256,
            **({} if self.earlier else {"mixed": self.mixed}),
        }

    def summary(self) -> dict[str, str]:
        """Return what a user wants to know before training starts."""
        network, config, s = self.network, self.config, self.splits
        parts = ", ".join(f"{part.shape[1]:,}" for part in (s.train, s.valid, s.test))
        first: Any = self.model.encoder.layers[0]
        text = {
            **describe_graph(network),
            "split": f"{parts} edges to train, validate, test on, and as many negative pairs",
            "model": f"{config.sizes}, scored by {config.scorer}, "
            f"{count_weights(self.model):,} parameters",
            "answer": f"the network's and {len(self.measures)} baselines', weighted on validation"
            if self.mixed
            else "the network's",
            "first layer": first.explain(self.graph),
            **describe_sampling(config, "edges"),
        }
        return text | ({"read": "; ".join(network.notes)} if network.notes else {})

    def batch(self, step: int) -> PairBatch:
        """Return edges to train on, then as many pairs drawn anew, `[2, 2 n]`.

        Pairs count by the order of the nodes. Without samples these are all nodes, and the
        edges are those that are hidden from the layers, or all.
        """
        n, N, pairs, graph = self.units_per_step, self.graph.num_nodes, self.pairs, self.graph
        generator = random_generator(self.config.seed, step, TRAINING)
        if self.sampler is not None:
            chosen = generator.choice(pairs.shape[1], n, replace=False)
            pairs = pairs[:, torch.from_numpy(chosen).to(self.device)]
        elif self.hidden:
            order = torch.from_numpy(generator.permutation(pairs.shape[1]))
            seen = order[n:].sort().values
            weights = self.train_weights[seen]
            graph = Graph(self.splits.train[:, seen], weights, N).to_undirected().to(self.device)
            pairs = pairs[:, order[:n].to(self.device)]
        others = torch.from_numpy(non_edges(generator, n, N, self.taken)).to(self.device)
        every = torch.cat([pairs, others], 1)
        if self.sampler is None:
            nodes = Batch(torch.arange(N, device=self.device), None)
            return PairBatch(every, nodes, graph, self.model.shared(graph, every))
        part = self.ranks.part(n, self.unit)
        own = torch.cat([pairs[:, part], others[:, part]], 1)
        shared = self.model.shared(graph, own)
        seeds, numbers = self._read(own, shared).unique(return_inverse=True)
        if shared is not None:
            numbers, near = numbers.split([own.numel(), len(shared[1])])
            shared = shared[0], near
        alone = self.ranks.count == 1
        among = None if alone else self._read(every, self.model.shared(graph, every)).unique()
        return PairBatch(numbers.view_as(own), sampled(self, seeds, step, among), None, shared)

    def _read(self, pairs: Tensor, shared: tuple[Tensor, Tensor] | None) -> Tensor:
        """Return the nodes that scores of pairs are computed from: theirs, and what they share."""
        near = [] if shared is None else [shared[1].to(self.device)]
        return torch.cat([pairs.flatten(), *near])

    @cached_property
    def train_weights(self) -> Tensor:
        """The weights of the edges to train on, `[n]`."""
        return connections(self.splits.graph)[1]

    def loss(
        self, model: LinksModel, batch: PairBatch, carry: Carry
    ) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Return the mean of −ln p over both kinds of pairs, and the area under the curve."""
        pairs, nodes, graph, shared = batch
        z = outputs(model.encoder, self, nodes) if graph is None else model.encoder(self.x, graph)
        there, not_there = model.score(z, pairs, shared).split(pairs.shape[1] // 2)
        return nats(there, not_there), {"auc": area(there, not_there).float()}, ()

    def terms(self, batch: PairBatch) -> float:
        """Return the number of pairs."""
        return float(batch.pairs.shape[1])

    def validate(self) -> Mapping[str, float]:
        """Return the network's scores of the edges held out to choose weights."""
        s, k = self.splits, self.config.hits
        logits = self.network_logits(torch.cat([s.valid, s.valid_non], 1))
        a, b = logits.split([s.valid.shape[1], s.valid_non.shape[1]])
        return {"loss": nats(a, b).item(), **score_pairs(a, b, k)}

    def own_scores(self) -> Mapping[str, float]:
        """Return the scores of the edges held out to test on: the answer's, the network's."""
        trial, k = self.tested, self.config.hits
        network = self.network_logits(trial.pairs)
        if not self.mixed:
            return trial.score(network, k)
        answer = self.mixture().logits({"network": network, **self.measured})
        return trial.score(answer, k) | named_scores({"network": trial.score(network, k)})

    def baselines(self) -> Mapping[str, float]:
        """Return the scores of what is not trained."""
        trial, k = self.tested, self.config.hits
        found = named_scores({name: trial.score(z, k) for name, z in self.measured.items()})
        return {name: value for name, value in found.items() if not name.endswith("_loss")}

    def mixture(self) -> Mixture:
        """Weigh the network and what is not trained, on the edges held out to validate on."""
        trial = self.trial(self.splits.valid, self.splits.valid_non)
        measured = {name: rule(trial.pairs) for name, rule in self.measures.items()}
        scores: Scored = {"network": self.network_logits(trial.pairs), **measured}
        return Mixture.fit(scores, trial)

    @property
    def measures(self) -> Mapping[str, Any]:
        """What scores pairs by the edges to train on, without training."""
        return measures_of(self.splits.graph, self.x)

    def trial(self, there: Tensor, others: Tensor) -> Trial:
        """Return a part that is held out with hard pairs."""
        whole = Graph(*connections(self.network.graph), self.graph.num_nodes).to_undirected()
        generator = random_generator(self.config.seed, int(there is self.splits.test), HARD)
        return Trial(there, others, hard_pairs(self.splits.graph, self.x, whole, there, generator))

    @cached_property
    def tested(self) -> Trial:
        """The part to test on."""
        return self.trial(self.splits.test, self.splits.test_non)

    @cached_property
    def measured(self) -> Scored:
        """The baselines' scores of the test set's pairs, by name."""
        return {name: rule(self.tested.pairs) for name, rule in self.measures.items()}

    def network_logits(self, pairs: Tensor) -> Tensor:
        """Return the network's logits of pairs by the edges to train on, float64 `[n]`."""
        model, z = self.model, exact_outputs(self.model.encoder, self)
        found = [
            model.score(z, part.to(z.device), model.shared(self.graph, part)).double().cpu()
            for part in pairs.split(PAIRS, 1)
        ]
        return torch.cat(found)

    def embed(self, graph: Graph, x: Tensor | None) -> Tensor:
        """Return the embeddings of all nodes over another graph and features, `[N, D]`."""
        encoder, sampler = self.model.encoder, sampler_of(self.config, graph)
        if sampler is not None:
            return encoder.in_slices(x, sampler.adjacency)
        return encoder(x, graph.to(self.device))

    def interpret(self, scores: Mapping[str, float]) -> str:
        """Return what the scores mean next to the baselines'."""
        others = baseline_scores(scores, BASELINES, "auc")
        text = f"an edge scores higher than a pair without one in {scores['auc']:.1%} of cases"
        text += " (AUC)" + list_scores(others) + verdict(scores["auc"], others)
        if "mrr" not in scores:
            return text
        others = baseline_scores(scores, BASELINES, "mrr")
        text += f".\nAmong hard pairs, mean reciprocal rank: {scores['mrr']:.3f}"
        return text + list_scores(others, ".3f") + verdict(scores["mrr"], others)

    def title(self, test: Mapping[str, Any] | None) -> str:
        """Return graph, operator and sizes."""
        return f"{self.network.name}: {self.config.sizes}, {self.config.scorer}"

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


def of_length_one(x: Tensor) -> Tensor:
    """Scale features up, all by the same, until their rows have a length of 1 in the mean square.

    Features that are larger stay as they are. Small ones, such as shares of many words, would be
    learnt slowly.

    >>> import torch
    >>> from plait.tasks.links.task import of_length_one
    >>> of_length_one(torch.tensor([[0.5, 0.0], [0.0, 0.5]])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    values = x.coalesce().values() if x.is_sparse else x
    length = (values.double().square().sum() / max(1, x.shape[0])).sqrt().item()
    return x / length if 0 < length < 1 else x
