"""`plait serve` of a nodes run: the graph, a node's labels, and the neighbours that count."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from plait.errors import InputError
from plait.graph_data.folder import GraphFolder
from plait.nn.graph import Graph
from plait.pages import SUGGESTED, Blocks, Control, Page, graph, note, table
from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.data import number_of
from plait.tasks.nodes.model import NodesModel
from plait.tasks.nodes.spreading import adjacency_of
from plait.tasks.nodes.task import NodesTask

SHOWN = 150
"""Nodes of a graph at most that are drawn."""

ASKED = 20
"""Neighbours at most without each of which a label is predicted again."""


def page(model: NodesModel, config: NodesConfig, facts: Mapping[str, Any]) -> Page:
    """Return the page: a node, its surroundings, its labels, and why."""
    task = NodesTask.restore(model, config, facts)
    network = task.network
    if isinstance(network, GraphFolder):
        raise InputError("a graph in a folder is too large for a page; see plait predict")
    ids, classes = network.ids, network.classes
    adjacency = adjacency_of(task.graph.to("cpu"))
    with torch.no_grad():
        predicted = task.answers().exp().cpu().numpy()
        network_says = task.logits().argmax(-1).tolist()
    labels = task.labels.tolist()
    train = set(task.splits.train.tolist())

    def answer(node: str) -> Blocks:
        asked = number_of(network, node)
        shown = surroundings(adjacency, asked, SHOWN)
        effects = _effects(task, adjacency, asked)
        place = {k: i for i, k in enumerate(shown.tolist())}
        most = max([abs(e) for e in effects.values()], default=0) or 1
        best = network_says[asked]
        yield graph(
            f"Node {node} and its surroundings, in the colour of the predicted label",
            [ids[k] for k in shown], edges_among(adjacency, shown), "graph",
            groups=[int(predicted[k].argmax()) for k in shown], group_names=classes,
            marked=[place[asked]],
            strong={(place[asked], place[k]): abs(e) / most for k, e in effects.items()
                    if k in place},
            hints=[_hint(ids[k], predicted[k], labels[k], classes, k in train) for k in shown],
        )  # fmt: skip
        order = predicted[asked].argsort()[::-1]
        rows = [[classes[k], float(predicted[asked, k])] for k in order]
        yield table(f"Labels of node {node}", ["label", "probability"], rows, "labels")
        given = "unknown" if labels[asked] < 0 else classes[labels[asked]]
        part = ", which the model was trained on" if asked in train else ""
        yield note(
            f"The label in the data is {given}{part}. The change is that of the network's "
            f"probability of {classes[best]} when the edge to a neighbour is taken away: "
            "below 0 the neighbour supports the label.", "given",
        )  # fmt: skip
        found = sorted(effects.items(), key=lambda item: -abs(item[1]))
        yield table(
            f"Neighbours that count for {classes[best]}",
            ["neighbour", "its predicted label", "change of the probability without it"],
            [[ids[k], classes[int(predicted[k].argmax())], -e] for k, e in found], "why",
        )  # fmt: skip
        if len(effects) < adjacency[[asked]].nnz:
            yield note(
                f"Only {ASKED} of the {adjacency[[asked]].nnz} neighbours were tried.", "few"
            )

    tested = task.splits.test
    first = ids[int(tested[0])] if len(tested) else ids[0]
    controls = [Control("node", "Node", "text", first, choices=ids[:SUGGESTED])]
    return Page("Choose a node: its label, and which neighbours support it.", controls, answer)


def surroundings(adjacency: Any, node: int, most: int) -> np.ndarray:
    """Return a node and those nearest to it, at most so many; the whole graph where it is small."""
    if adjacency.shape[0] <= most:
        return np.arange(adjacency.shape[0])
    seen = {node: None}
    for near in seen_in_order(adjacency, seen):
        if len(seen) >= most:
            break
        seen.setdefault(near)
    return np.array(list(seen))


def seen_in_order(adjacency: Any, seen: dict[int, None]) -> Iterator[int]:
    """Yield neighbours of what is in a growing dict, hop by hop."""
    done = 0
    while done < len(seen):
        node = list(seen)[done]
        done += 1
        yield from adjacency[[node]].indices.tolist()


def edges_among(adjacency: Any, nodes: np.ndarray) -> list[list[int]]:
    """Return the edges whose two ends are among the nodes, by their places there."""
    part = adjacency[nodes][:, nodes].tocoo()
    return np.stack([part.row, part.col], 1).tolist()


def _effects(task: NodesTask, adjacency: Any, node: int) -> dict[int, float]:
    """Return by how much each edge of a node raises its likeliest label's probability."""
    near = [k for k in adjacency[[node]].indices.tolist() if k != node][:ASKED]
    at = torch.tensor([node], device=task.graph.device)

    def probability(graph: Graph) -> torch.Tensor:
        other = copy.copy(task)
        other.sampler = None
        other.graph = graph
        return other.logits(at).double().softmax(-1)[0]

    whole = probability(task.graph)
    best = int(whole.argmax())
    effects = {}
    for k in near:
        ends = torch.tensor([node, k], device=at.device)[:, None]
        without = task.graph.select_edges(
            lambda g, ends=ends: (
                ~((g.edge_index == ends).all(0) | (g.edge_index == ends.flip(0)).all(0))
            )
        )
        effects[k] = float(whole[best] - probability(without)[best])
    return effects


def _hint(name: str, p: np.ndarray, label: int, classes: Any, trained: bool) -> str:
    given = "unknown" if label < 0 else classes[label]
    best = int(p.argmax())
    part = " (trained on)" if trained else ""
    return f"{name}: {classes[best]} {p[best]:.0%}; in the data {given}{part}"
