"""`plait serve` of a communities run: the graph in the colours of its communities."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from plait.errors import InputError
from plait.graph_data.folder import GraphFolder
from plait.pages import SUGGESTED, Blocks, Control, Page, graph, note, table
from plait.tasks.communities.config import CommunitiesConfig
from plait.tasks.communities.model import CommunitiesModel
from plait.tasks.communities.task import CommunitiesTask
from plait.tasks.nodes.data import number_of
from plait.tasks.nodes.page import SHOWN, edges_among, surroundings
from plait.tasks.nodes.spreading import adjacency_of
from plait.terminal import counted

BY_EMBEDDING, BY_LOUVAIN, BY_LABEL = "the embedding", "Louvain's method", "the labels"


def page(model: CommunitiesModel, config: CommunitiesConfig, facts: Mapping[str, Any]) -> Page:
    """Return the page: a node, what groups the nodes, the graph around the node, the groups."""
    task = CommunitiesTask.restore(model, config, facts)
    network = task.network
    if isinstance(network, GraphFolder):
        raise InputError("a graph in a folder is too large for a page; see plait predict")
    ids = network.ids
    adjacency = adjacency_of(task.graph.to("cpu"))
    with torch.no_grad():
        found = {BY_EMBEDDING: task.communities()}
    if task.louvain is not None:
        found[BY_LOUVAIN] = task.louvain
    if network.labels is not None:
        found[BY_LABEL] = network.labels.numpy()

    def answer(node: str, by: str) -> Blocks:
        asked, groups = number_of(network, node), found[by]
        shown = surroundings(adjacency, asked, SHOWN)
        place = {k: i for i, k in enumerate(shown.tolist())}
        names = group_names(by, groups, network.classes)
        whole = len(shown) == len(ids)
        yield graph(
            f"{'The graph' if whole else f'{node} and its surroundings'}, grouped by {by}",
            [ids[k] for k in shown], edges_among(adjacency, shown), "graph",
            groups=groups[shown].tolist(), group_names=names, marked=[place[asked]],
            hints=[f"{ids[k]}: {_name(names, int(groups[k]))}" for k in shown.tolist()],
        )  # fmt: skip
        members = [np.flatnonzero(groups == k).tolist() for k in range(len(names))]
        rows = [[name, len(own), ", ".join(ids[k] for k in own[:8]) + ", …" * (len(own) > 8)]
                for name, own in zip(names, members, strict=True)]  # fmt: skip
        yield table(f"Groups by {by}", ["group", "nodes", "such as"], rows, "groups")
        same = int((groups == groups[asked]).sum()) - 1
        inside = [k for k in adjacency[[asked]].indices.tolist() if k != asked]
        within = sum(groups[k] == groups[asked] for k in inside)
        yield note(
            f"Node {node} is in {_name(names, groups[asked])}, with {counted(same, 'other')}; "
            f"{within} of its {counted(len(inside), 'neighbour')} are in it too.", "node",
        )  # fmt: skip

    controls = [
        Control("node", "Node", "text", ids[0], choices=ids[:SUGGESTED]),
        Control("by", "Grouped by", "choice", BY_EMBEDDING, choices=list(found)),
    ]
    about = "Communities that were found without labels; choose a node, and what groups the nodes."
    return Page(about, controls, answer)


def group_names(by: str, groups: np.ndarray, classes: Any) -> list[str]:
    """Return a name for each group: the labels, or their numbers from 1."""
    if by == BY_LABEL:
        return [str(name) for name in classes]
    return [f"community {k + 1}" for k in range(int(groups.max()) + 1)]


def _name(names: list[str], group: int) -> str:
    return "none that is known" if group < 0 else names[group]
