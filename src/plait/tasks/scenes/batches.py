"""Scenes as tensors: objects, pairs, and the graph that their messages go along."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from plait.nn.graph import Graph
from plait.tasks.scenes.geometry import geometry
from plait.tasks.scenes.scene import Scene, pairs_of


@dataclass(frozen=True)
class Batch:
    """Several scenes side by side, with N objects and P ordered pairs in all.

    Attributes
    ----------
    objects : Tensor `[N, 5 + F]`
        The detector's score, centre and size of the box as shares of the image's, features.
    classes : Tensor `[N]`
    pairs : Tensor `[2, P]`
        Subjects and objects; those of a scene in the order of `pairs_of`.
    geometry : Tensor `[P, 10]`
    labels : Tensor `[P, predicates]`
        1 where the relation is labelled.
    graph : Graph
        Of N + P nodes; see `half_edges`.
    sizes : tuple of int
        Pairs of each scene.
    """

    objects: Tensor
    classes: Tensor
    pairs: Tensor
    geometry: Tensor
    labels: Tensor
    graph: Graph
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, scenes: Sequence[Scene], predicates: int, device: torch.device) -> "Batch":
        """Put scenes side by side."""
        pairs = [pairs_of(len(scene.ids)) for scene in scenes]
        counts = [len(scene.ids) for scene in scenes]
        begins = np.cumsum([0, *counts[:-1]])
        shifted = np.concatenate([p + b for p, b in zip(pairs, begins, strict=True)], 1)
        seen = zip(scenes, pairs, strict=True)

        def floats(rows: list[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.concatenate(rows)).float().to(device)

        joined = torch.from_numpy(shifted).to(device)
        return cls(
            floats([describe(scene) for scene in scenes]),
            torch.from_numpy(np.concatenate([scene.classes for scene in scenes])).to(device),
            joined,
            floats([geometry(scene.boxes, p, scene.size) for scene, p in seen]),
            floats([scene.labels(predicates) for scene in scenes]),
            half_edges(joined, sum(counts)),
            tuple(p.shape[1] for p in pairs),
        )


def describe(scene: Scene) -> np.ndarray:
    """Return what is seen of each object alone: score, centre, size, features; `[N, 5 + F]`."""
    size = np.array(scene.size)
    centre = (scene.boxes[:, :2] + scene.boxes[:, 2:] / 2) / size
    return np.column_stack([scene.scores, centre, scene.boxes[:, 2:] / size, scene.features])


def half_edges(pairs: Tensor, objects: int) -> Graph:
    """Join N objects and P ordered pairs: each pair to its subject, and to its reverse.

    So between any two objects i and j there is a path i – (i, j) – (j, i) – j: a candidate
    connection, cut into two half-edges, each of which is a node that carries what is seen of the
    pair. An object aggregates the pairs that it is the subject of and no others, so that "left of
    me" and "I am left of" differ. A pair receives messages from its subject and its reverse; from
    other pairs of its subject in two layers.

    Parameters
    ----------
    pairs : integer Tensor `[2, P]`
        Subject and object of every pair; with each pair its reverse.
    objects : int

    Returns
    -------
    Graph
        Undirected, of N + P nodes, the objects first.

    Example
    -------
    >>> import torch
    >>> from plait.tasks.scenes.batches import half_edges
    >>> half_edges(torch.tensor([[0, 1], [1, 0]]), objects=2).edge_index.tolist()
    [[2, 3, 0, 3, 1, 2], [0, 1, 2, 2, 3, 3]]
    """
    subject, other = pairs
    nodes = objects + torch.arange(pairs.shape[1], device=pairs.device)
    # pair and reverse meet when one is sorted by (subject, object), the other by (object, subject)
    reverse = torch.empty_like(nodes)
    reverse[(subject * objects + other).argsort()] = nodes[(other * objects + subject).argsort()]
    index = torch.stack([torch.cat([subject, nodes, nodes]), torch.cat([nodes, subject, reverse])])
    return Graph(index, num_nodes=objects + pairs.shape[1])
