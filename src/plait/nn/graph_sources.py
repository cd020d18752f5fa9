"""Conversions of graphs: `from_…` functions return the arguments of `Graph`.

These are the edges `[2, E]`, their weights, the number of nodes and maybe the edges' features.
`to_…` functions convert back.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import scipy.sparse
import torch
from scipy.spatial import KDTree
from torch import Tensor

from plait.errors import InputError

Weights = Tensor | list[float] | None
GraphArguments = tuple[Tensor | np.ndarray, Weights, int | None]


def from_edges(
    edges: Iterable[tuple[int, int]], weights: Iterable[float] | None, num_nodes: int | None
) -> GraphArguments:
    """Read pairs (source, target)."""
    index = torch.tensor([tuple(edge) for edge in edges], dtype=torch.long).reshape(-1, 2).T
    return index, None if weights is None else list(weights), num_nodes


def from_adjacency(adjacency: Any) -> GraphArguments:
    """Read a square matrix, dense or sparse, of scipy, torch or numpy."""
    if scipy.sparse.issparse(adjacency):
        found = adjacency.tocoo()
        index = torch.from_numpy(np.stack([found.row, found.col]).astype(np.int64))
        weight, shape = torch.as_tensor(found.data), found.shape
    else:
        matrix = torch.as_tensor(adjacency)
        shape = matrix.shape
        if matrix.layout != torch.strided:
            found = matrix.to_sparse_coo().coalesce()
            index, weight = found.indices(), found.values()
        else:
            index = matrix.nonzero().T
            weight = matrix[tuple(index)] if matrix.ndim == 2 else matrix
    if len(shape) != 2 or shape[0] != shape[1]:
        raise InputError(f"an adjacency must be square; got shape {list(shape)}")
    present = weight != 0
    return index[:, present], weight[present], shape[0]


def from_networkx(graph: Any, weight: str) -> GraphArguments:
    """Read a graph of networkx; an undirected edge becomes two."""
    import networkx

    if not isinstance(graph, networkx.Graph):
        raise TypeError(f"from_networkx takes a graph of networkx, not {type(graph).__name__}")
    number = {node: k for k, node in enumerate(graph)}
    edges, weights = [], []
    for source, target, w in graph.edges(data=weight, default=1.0):
        try:
            weights.append(float(w))
        except (TypeError, ValueError):
            raise InputError(
                f"the {weight} of edge {source!r} → {target!r} is {w!r}, not a number; "
                "from_networkx(graph, weight=NAME) reads another attribute"
            ) from None
        edges.append((number[source], number[target]))
    if not graph.is_directed():
        back = [(t, s, w) for (s, t), w in zip(edges, weights, strict=True) if s != t]
        edges += [(s, t) for s, t, _ in back]
        weights += [w for *_, w in back]
    return from_edges(edges, weights, len(number))


def from_pyg(
    data: Any, weight: int | str | None, features: str | None
) -> tuple[tuple[Any, ...], Tensor | None, int]:
    """Read a `Data` or `Batch` of PyTorch Geometric; also each node's graph, and their number."""
    index = getattr(data, "edge_index", None)
    if not isinstance(index, Tensor):
        raise InputError(
            f"from_pyg takes a Data or Batch with one edge_index, not {type(data).__name__}; "
            "of HeteroData, data.to_homogeneous() gives one"
        )
    attributes = None
    if features is not None:
        attributes = getattr(data, features, None)
        if attributes is None:
            raise InputError(
                f"features={features!r}: this {type(data).__name__} has no {features}; name an "
                "attribute with a row per edge"
            )
        attributes = attributes[:, None] if attributes.ndim == 1 else attributes
    parts = index, _weights_of(data, weight, features), data.num_nodes, attributes
    batch = getattr(data, "batch", None)
    if batch is None:
        return parts, None, 1
    return parts, batch, int(getattr(data, "num_graphs", 0) or batch.max() + 1)


def _weights_of(data: Any, weight: int | str | None, features: str | None) -> Tensor | None:
    """Return one weight per edge."""
    if isinstance(weight, str):
        found = getattr(data, weight, None)
        if found is None:
            raise InputError(f"weight={weight!r}: this {type(data).__name__} has no {weight}")
        return _one_per_edge(found, weight)
    attributes = getattr(data, "edge_attr", None)
    if weight is not None:
        columns = 0 if attributes is None else attributes.flatten(1).shape[-1]
        if attributes is None or not -columns <= weight < columns:
            raise InputError(f"weight={weight}: edge_attr has {columns} columns, from 0")
        return attributes[:, weight] if attributes.ndim > 1 else attributes
    if getattr(data, "edge_weight", None) is not None:
        return _one_per_edge(data.edge_weight, "edge_weight")
    if attributes is None or features == "edge_attr":
        return None
    return _one_per_edge(attributes, "edge_attr")


def _one_per_edge(found: Tensor, name: str) -> Tensor:
    if found.numel() != len(found):
        raise InputError(
            f"{name} is {list(found.shape)}, and an edge has one weight; from_pyg(data, weight=0) "
            "takes the first column of edge_attr, features='edge_attr' all as features; "
            "`del data.edge_attr` ignores it"
        )
    return found.flatten()


def to_pyg(
    index: Tensor,
    weight: Tensor,
    features: Tensor | None,
    nodes: int,
    batch: Tensor | None,
    graphs: int,
) -> Any:
    """Make a `Data`, or for a disjoint union a `Batch`, of PyTorch Geometric."""
    try:
        from torch_geometric.data import Batch, Data
    except ImportError:
        raise InputError("to_pyg needs PyTorch Geometric: pip install torch_geometric") from None
    if batch is None:
        return Data(edge_index=index, edge_weight=weight, edge_attr=features, num_nodes=nodes)
    sizes = torch.bincount(batch, minlength=graphs)
    if not torch.equal(batch, torch.arange(graphs, device=batch.device).repeat_interleave(sizes)):
        raise InputError("to_pyg needs the nodes of a disjoint union in the order of their graphs")
    ends = sizes.cumsum(0)
    whose, members = batch[index[0]], []
    for k, (end, size) in enumerate(zip(ends.tolist(), sizes.tolist(), strict=True)):
        own = whose == k
        part = index[:, own] - (end - size)
        of_part = None if features is None else features[own]
        members.append(
            Data(edge_index=part, edge_weight=weight[own], edge_attr=of_part, num_nodes=size)
        )
    return Batch.from_data_list(members)


def to_networkx(index: Tensor, weight: Tensor, nodes: int, batch: Tensor | None) -> Any:
    """Make a `DiGraph` of networkx."""
    import networkx

    made = networkx.DiGraph()
    made.add_nodes_from(range(nodes))
    made.add_weighted_edges_from(zip(*index.tolist(), weight.tolist(), strict=True))
    if batch is not None:
        networkx.set_node_attributes(made, dict(enumerate(batch.tolist())), "batch")
    return made


def from_points(xy: Tensor | np.ndarray | Sequence[Sequence[float]], k: int) -> GraphArguments:
    """Make edges from each point's k nearest neighbours to it."""
    points = np.asarray(xy, dtype=np.float64)
    if points.ndim != 2:
        raise InputError(f"points must be [N, dimensions]; got shape {list(points.shape)}")
    if not np.isfinite(points).all():
        n = int(np.flatnonzero(~np.isfinite(points).all(1))[0])
        raise InputError(f"point {n} is not finite: {points[n].tolist()}")
    N = len(points)
    if not 1 <= k < N:
        raise InputError(f"k must be at least 1 and less than the {N} points, not {k}")
    distance, neighbour = map(np.asarray, KDTree(points).query(points, k + 1))  # itself among them
    # a point is its own nearest, unless more than k others lie exactly on it
    own = neighbour == np.arange(N)[:, None]
    own[~own.any(1), -1] = True
    distance, neighbour = distance[~own].reshape(N, k), neighbour[~own].reshape(N, k)
    width = distance[:, -1].mean()
    weight = np.exp(-((distance / width) ** 2)) if width else np.ones_like(distance)
    index = np.stack([neighbour.flatten(), np.arange(N).repeat(k)])
    kind = xy.dtype if isinstance(xy, Tensor) else torch.get_default_dtype()
    return index, torch.from_numpy(weight.flatten()).to(kind), N
