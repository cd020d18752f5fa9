"""`plait serve` of a links run: a node's surroundings, and the edges suggested for it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from plait.errors import InputError
from plait.graph_data.folder import GraphFolder
from plait.pages import SUGGESTED, Blocks, Control, Page, graph, table
from plait.tasks.links.config import LinksConfig
from plait.tasks.links.inference import suggest_links
from plait.tasks.links.model import LinksModel
from plait.tasks.links.splits import connections
from plait.tasks.links.task import LinksTask
from plait.tasks.nodes.page import SHOWN, edges_among, surroundings
from plait.tasks.nodes.spreading import adjacency_of


def page(model: LinksModel, config: LinksConfig, facts: Mapping[str, Any]) -> Page:
    """Return the page: a node, its surroundings, and what is suggested."""
    from plait.nn.graph import Graph

    network = LinksTask.restore(model, config, facts).network
    if isinstance(network, GraphFolder):
        raise InputError("a graph in a folder is too large for a page; see plait predict")
    ids = network.ids
    number = {name: k for k, name in enumerate(ids)}
    undirected = Graph(*connections(network.graph), len(ids)).to_undirected()
    adjacency = adjacency_of(undirected)

    def answer(node: str, top: int) -> Blocks:
        found = suggest_links(model, config, facts, node=node, top=top)
        asked, others = number[node], [number[name] for name in found["suggestion"]]
        near = surroundings(adjacency, asked, SHOWN).tolist()
        shown = np.array(list(dict.fromkeys([*near, *others])))
        place = {k: i for i, k in enumerate(shown.tolist())}
        yield graph(
            f"Node {node} and its surroundings; dashed: suggested",
            [ids[k] for k in shown], edges_among(adjacency, shown), "graph",
            groups=[0 if k == asked else 1 if k in others else -1 for k in shown],
            group_names=["the node", "suggested"], marked=[place[asked]],
            dashed=[(place[asked], place[k]) for k in others],
        )  # fmt: skip
        columns = ["suggestion", "score", "common neighbours", "through"]
        rows = found.drop(columns="node").values.tolist()
        yield table(f"Suggested for node {node}", columns, rows, "suggestions")

    controls = [
        Control("node", "Node", "text", ids[0], choices=ids[:SUGGESTED]),
        Control("top", "Suggestions", "number", 5, least=1, most=30),
    ]
    return Page("Choose a node: edges that are not there yet.", controls, answer)
