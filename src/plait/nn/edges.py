"""Edges as tensors: checked, sorted by target then source, duplicates merged."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plait.errors import InputError
from plait.kernels.edge_sums import add_at


class Whole(NamedTuple):
    """What a sample of a graph keeps of the whole: sums over all edges of its nodes.

    `loops` are the weights of the nodes' loops, NaN where there is none.
    """

    in_degree: Tensor  # float64 [N]
    out_degree: Tensor
    loops: Tensor
    asymmetric_edge: tuple[int, int] | None

    def to(self, device: Any) -> "Whole":
        """Return the same on another device."""
        into, out, loops = (t.to(device) for t in (self.in_degree, self.out_degree, self.loops))
        return Whole(into, out, loops, self.asymmetric_edge)


def checked_index(index: Tensor) -> Tensor:
    """Return `[2, E]` in 64 bits, or refuse what is not a list of edges."""
    if index.numel() == 0 and index.shape in ((0,), (2, 0)):
        return torch.empty(2, 0, dtype=torch.long, device=index.device)
    if index.ndim != 2 or index.shape[0] != 2:
        raise InputError(f"edge_index must be [2, E], sources and targets; got {list(index.shape)}")
    if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
        raise InputError(f"edge_index must be integers, not {index.dtype}")
    return index.long()


def checked_weight(given: Any, index: Tensor) -> Tensor:
    """Return one finite weight per edge; 1 if none is given."""
    E = index.shape[1]
    if given is None:
        return torch.ones(E, device=index.device)
    weight = torch.as_tensor(given, device=index.device)
    if weight.requires_grad:
        raise InputError("edge weights are not learned; pass edge_weight.detach()")
    if weight.shape != (E,):
        raise InputError(f"edge_weight must be [{E}], one per edge; got {list(weight.shape)}")
    if not weight.is_floating_point():
        weight = weight.to(torch.get_default_dtype())
    bad = (~weight.isfinite()).nonzero()
    if len(bad):
        s, t = edge_at(index, bad[0])
        raise InputError(f"the weight of edge {int(bad[0])}, {s} → {t}, is {weight[bad[0]].item()}")
    return weight


def checked_features(given: Any, index: Tensor) -> Tensor | None:
    """Return finite features `[E, D]`, one row per edge; None if none are given."""
    if given is None:
        return None
    E = index.shape[1]
    features = torch.as_tensor(given, device=index.device)
    if features.requires_grad:
        raise InputError("edge features are not learned; pass edge_features.detach()")
    if features.ndim != 2 or len(features) != E or not features.shape[1]:
        raise InputError(
            f"edge_features must be [{E}, D], one row per edge; got {list(features.shape)}"
        )
    if not features.is_floating_point():
        features = features.to(torch.get_default_dtype())
    bad = (~features.isfinite()).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        s, t = edge_at(index, bad[0, 0])
        raise InputError(
            f"feature {column} of edge {row}, {s} → {t}, is {features[row, column].item()}"
        )
    return features


def joined_features(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Return the features of several graphs' edges, one after the other; None if none has any."""
    sizes = {0 if part is None else part.shape[1] for part in parts}
    if len(sizes) > 1:
        raise InputError(
            f"the graphs must have equally many edge features, not {sorted(sizes)}; give all the "
            "same"
        )
    given = [part for part in parts if part is not None]
    return torch.cat(given) if given else None


def checked_range(index: Tensor, num_nodes: int | None) -> int:
    """Return the number of nodes; refuse edges to other nodes."""
    N = int(index.max()) + 1 if num_nodes is None and index.numel() else num_nodes or 0
    bad = ((index < 0) | (index >= N)).any(0).nonzero()
    if len(bad):
        s, t = edge_at(index, bad[0])
        node = s if not 0 <= s < N else t
        raise InputError(
            f"edge {int(bad[0])}, {s} → {t}, names node {node}; nodes are 0 … {N - 1} "
            f"(num_nodes={N})"
        )
    return N


def merged(
    index: Tensor, weight: Tensor, features: Tensor | None, nodes: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return edges sorted by target, then source, with duplicates merged."""
    order = by_place(index, nodes)
    index, weight = index[:, order], weight[order]
    features = None if features is None else features[order]
    first = firsts(index)
    extra = index.shape[1] - int(first.sum())
    if not extra:
        return index, weight, features
    s, t = edge_at(index, (~first).nonzero()[0])
    warnings.warn(
        f"{extra} duplicate edge{'s' * (extra > 1)} merged, the weights summed"
        f"{', the features averaged' * (features is not None)}; the first is {s} → {t}",
        stacklevel=3,
    )
    place = first.cumsum(0) - 1
    index = index[:, first]
    E = index.shape[1]
    if features is not None:
        total = add_at(features.new_zeros(E, features.shape[1]), place, features)
        features = total / torch.bincount(place, minlength=E)[:, None]
    return index, add_at(weight.new_zeros(E), place, weight), features


def by_place(index: Tensor, nodes: int, then: Tensor | None = None) -> Tensor:
    """Return the order of edges by target, then source, then given order or another key."""
    place = index[1] * nodes + index[0]
    if then is None:
        return torch.argsort(place, stable=True)
    order = torch.argsort(then, stable=True)
    return order[torch.argsort(place[order], stable=True)]


def firsts(index: Tensor) -> Tensor:
    """Return a mask of sorted edges: the first of each source and target."""
    first = torch.ones(index.shape[1], dtype=torch.bool, device=index.device)
    first[1:] = (index[:, 1:] != index[:, :-1]).any(0)
    return first


def edge_at(index: Tensor, k: Tensor) -> tuple[int, int]:
    """Return the source and target of edge k."""
    return int(index[0, k]), int(index[1, k])
