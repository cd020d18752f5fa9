"""The layers of `plait.nn` as forms: a whole sequence, or one step with states in and out."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plait.errors import InputError
from plait.export_formats.form import Form
from plait.nn.cell import Cell
from plait.nn.convolution import GraphConv
from plait.nn.forms import aggregates, as_state, as_tuple
from plait.nn.graph import Graph, as_graph
from plait.nn.recurrent import Recurrent


def layer_form(layer: Any, graph: Graph | None = None, *, step: bool = False) -> Form:
    """Return a `Recurrent` or `GraphConv` as a form, with the graph in it.

    Raises `InputError` for other modules, and for a layer over a graph without one.
    """
    graph = as_graph(graph)
    graph = None if graph is None else graph.to("cpu")
    if isinstance(layer, GraphConv):
        if step:
            raise InputError("a GraphConv has no steps; leave out step=True")
        nodes = _nodes_of(layer.operator, graph)
        x = torch.randn(2, *nodes, layer.inputs, generator=torch.Generator().manual_seed(0))
        return Form(
            _Convolution(layer, graph), {"x": x.to(next(layer.parameters()).dtype)}, ["y"],
            {"x": {0: "batch"}}, {"layer": repr(layer), **graph_facts(graph)},
        )  # fmt: skip
    if not isinstance(layer, Recurrent):
        raise InputError(
            f"{type(layer).__name__} is no run, Recurrent or GraphConv; a module of your own is "
            "exported as a plait.export_formats.Form, with names for its inputs"
        )
    nodes, F = _nodes_of(layer.operator, graph), layer.input_size
    kind = next(layer.parameters()).dtype
    generator = torch.Generator().manual_seed(0)
    time, batch = (1, 0) if layer.batch_first else (0, 1)
    free = {0: "batch"} if step else {time: "time", batch: "batch"}
    x = torch.randn(*([2] if step else [2, 2]), *nodes, F, generator=generator, dtype=kind)
    width = len(layer.directions)
    states, axes = state_inputs(layer.cell, (width, 2, *nodes, layer.hidden_size), kind)
    return Form(
        _Sequence(layer, graph, step=step),
        {"x": x, **states},
        ["y", *state_outputs(layer.cell)],
        {"x": free, **axes},
        {"layer": repr(layer), "state_shapes": state_shapes(states), **graph_facts(graph)},
    )


def state_inputs(
    cell: Cell, shape: Sequence[int], kind: torch.dtype = torch.float32
) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
    """Return an example of each state `[layers, B, (N,) H]` by name, and their free axes."""
    generator = torch.Generator().manual_seed(1)
    states = {
        n: torch.randn(*shape, generator=generator, dtype=torch.float64).mul(0.5).to(kind)
        for n in cell.states
    }
    return states, {name: {1: "batch"} for name in states}


def state_outputs(cell: Cell) -> list[str]:
    """Return the names of the states after a call.

    >>> from plait import LSTM
    >>> from plait.export_formats.layers import state_outputs
    >>> state_outputs(LSTM())
    ['next_h', 'next_c']
    """
    return [f"next_{name}" for name in cell.states]


def state_shapes(states: Mapping[str, Tensor]) -> Mapping[str, list[int]]:
    """Return the shape of each state without its batch, which is the second axis."""
    return {name: [*s.shape[:1], *s.shape[2:]] for name, s in states.items()}


def graph_facts(graph: Graph | None) -> Mapping[str, Any]:
    """Return a graph as metadata: its edges, their weights, and the number of nodes."""
    if graph is None:
        return {}
    edges = graph.edge_index.tolist(), graph.edge_weight.tolist()
    return {"graph": {"edge_index": edges[0], "edge_weight": edges[1], "nodes": graph.num_nodes}}


def _nodes_of(operator: Any, graph: Graph | None) -> tuple[int, ...]:
    if graph is not None:
        return (graph.num_nodes,)
    fixed = getattr(operator, "nodes", None)
    if isinstance(fixed, int):
        return (fixed,)
    if aggregates(operator):
        raise InputError(f"{operator!r} aggregates neighbours; give graph=")
    return ()


class _Sequence(nn.Module):
    def __init__(self, layer: Recurrent, graph: Graph | None, *, step: bool) -> None:
        super().__init__()
        self.layer, self.graph, self.step = layer, graph, step

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        axis = 1 if self.layer.batch_first else 0
        x = x.unsqueeze(axis) if self.step else x
        y, final = self.layer(x, as_state(states), graph=self.graph)
        return (y.squeeze(axis) if self.step else y, *as_tuple(final))


class _Convolution(nn.Module):
    def __init__(self, layer: GraphConv, graph: Graph | None) -> None:
        super().__init__()
        self.layer, self.graph = layer, graph

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, self.graph)
