"""Training on samples of neighbours, of the nodes task and of the links task."""

from typing import Any, NamedTuple

from torch import Tensor

from plait.nn.graph import Graph
from plait.nn.neighbours import NeighbourSampler, Sample
from plait.tasks.nodes.config import NetworkConfig
from plait.tasks.nodes.model import NodesModel
from plait.training.task import device_of

SAMPLING = 7
"""The stream of random numbers that nodes to train on are drawn from."""


class Batch(NamedTuple):
    """Nodes whose outputs are wanted, and a sample of their neighbours; None: the whole graph.

    `x` are the features of the sample's nodes, None where the model takes them from all nodes'.
    """

    seeds: Tensor
    sample: Sample | None
    x: Tensor | None = None


def sampler_of(config: NetworkConfig, network: Any) -> NeighbourSampler | None:
    """Return what draws neighbours; None where every step is over the whole graph.

    `network` has `edges`, or is a graph.
    """
    if not config.sample:
        return None
    edges = network if isinstance(network, Graph) else network.edges
    return NeighbourSampler(edges, config.fanouts, seed=config.seed)


def describe_sampling(config: NetworkConfig, units: str) -> dict[str, str]:
    """Return what a summary says of samples."""
    if not config.sample:
        return {}
    hops = f"up to {config.sample} neighbours by hop" if config.fanouts else "no neighbours"
    return {"sampling": f"{config.batch_size:,} {units} a step, {hops}; scored with all of them"}


def sampled(task: Any, seeds: Tensor, step: int, among: Tensor | None = None) -> Batch:
    """Sample the neighbours of some nodes, and read the features; `among` as of the sampler.

    Of the task it takes `x` and `sampler`.
    """
    sample = task.sampler.sample(seeds, step, among=among)
    if task.x is None or task.x.is_sparse:
        return Batch(seeds, sample)
    return Batch(seeds, sample, task.x.index_select(0, sample.nodes.to(task.x.device)))


def outputs(model: NodesModel, task: Any, batch: Batch, *, every: bool = False) -> Tensor:
    """Return the outputs of a batch's nodes, from the whole graph or from their sample.

    With `every` they are those of all nodes, where the whole graph is computed. Of the task it
    takes `x`, `graph`, and in the others `sampler`.
    """
    if batch.sample is None:
        y = model(task.x, task.graph)
        return y if every else y[batch.seeds]
    nodes, part = batch.sample
    device = device_of(model)
    if batch.x is not None:
        return model(batch.x.to(device), part.to(device))[: len(batch.seeds)]
    return model(task.x, part.to(device), nodes)[: len(batch.seeds)]


def exact_outputs(model: NodesModel, task: Any, nodes: Tensor | None = None) -> Tensor:
    """Return the outputs of some nodes, or of all, each from all its neighbours."""
    if task.sampler is None:
        y = model(task.x, task.graph)
        return y if nodes is None else y[nodes]
    return model.in_slices(task.x, task.sampler.adjacency, nodes)


def representations(model: NodesModel, task: Any) -> Tensor:
    """Return the last layer's inputs of all nodes, each from all its neighbours."""
    if task.sampler is None:
        return model.represent(task.x, task.graph)
    return model.in_slices(task.x, task.sampler.adjacency, to_last=True)
