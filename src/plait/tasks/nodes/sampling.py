"""Training on samples of neighbours, of the nodes task and of the links task."""

from typing import NamedTuple

from torch import Tensor

from plait.nn.graph import Graph
from plait.nn.neighbours import NeighbourSampler, Sample
from plait.tasks.nodes.config import NetworkConfig
from plait.tasks.nodes.model import NodesModel

SAMPLING = 7
"""The stream of random numbers that nodes to train on are drawn from."""


class Batch(NamedTuple):
    """Nodes whose outputs are wanted, and a sample of their neighbours; None: the whole graph."""

    seeds: Tensor
    sample: Sample | None


def sampler_of(config: NetworkConfig, graph: Graph) -> NeighbourSampler | None:
    """Return what draws neighbours; None where every step is over the whole graph."""
    if not config.sample:
        return None
    return NeighbourSampler(graph, config.fanouts, seed=config.seed)


def describe_sampling(config: NetworkConfig, units: str) -> dict[str, str]:
    """Return what a summary says of samples."""
    if not config.sample:
        return {}
    hops = f"up to {config.sample} neighbours by hop" if config.fanouts else "no neighbours"
    return {"sampling": f"{config.batch_size:,} {units} a step, {hops}; scored with all of them"}


def outputs(model: NodesModel, x: Tensor | None, graph: Graph, batch: Batch) -> Tensor:
    """Return the outputs of a batch's nodes, from the whole graph or from their sample."""
    if batch.sample is None:
        return model(x, graph)[batch.seeds]
    nodes, part = batch.sample
    return model(x, part.to(graph.device), nodes)[: len(batch.seeds)]


def all_outputs(
    model: NodesModel, x: Tensor | None, graph: Graph, sampler: NeighbourSampler | None
) -> Tensor:
    """Return the outputs of all nodes, each from all its neighbours."""
    return model(x, graph) if sampler is None else model.in_slices(x, sampler.adjacency)


def representations(
    model: NodesModel, x: Tensor | None, graph: Graph, sampler: NeighbourSampler | None
) -> Tensor:
    """Return the last layer's inputs of all nodes, each from all its neighbours."""
    if sampler is None:
        return model.represent(x, graph)
    return model.in_slices(x, sampler.adjacency, to_last=True)
