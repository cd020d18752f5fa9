"""Communities without training: Louvain's method by the graph, k-means by the features."""

from typing import Any

import networkx
import numpy as np
import torch
from torch import Tensor

LARGEST = 1_000_000
"""Edges of a graph up to which Louvain's method is tried: networkx's is in Python."""


def louvain(pairs: Tensor, weights: Tensor, nodes: int, seed: int) -> np.ndarray | None:
    """Return the communities that Louvain's method finds, numbered from 0; None: too large.

    Negative weights count as none.

    Source: Blondel et al. (2008), Fast unfolding of communities in large networks.
    """
    if pairs.shape[1] > LARGEST:
        return None
    graph = networkx.Graph()
    graph.add_nodes_from(range(nodes))
    kept = weights > 0
    ends = zip(*pairs[:, kept].tolist(), weights[kept].tolist(), strict=True)
    graph.add_weighted_edges_from(ends)
    community = np.empty(nodes, dtype=np.int64)
    for k, members in enumerate(networkx.community.louvain_communities(graph, seed=seed)):
        community[list(members)] = k
    return community


def k_means(x: Tensor, k: int, seed: int) -> np.ndarray:
    """Return the cluster of every row, with rows scaled to length 1; fewer than k of equal rows."""
    from sklearn.cluster import KMeans  # takes long to import

    rows = torch.nn.functional.normalize(x.to_dense().double().cpu(), dim=1).numpy()
    k = min(k, len(np.unique(rows.round(9), axis=0)))
    means: Any = KMeans(k, n_init=10, random_state=seed)  # pyright: ignore[reportArgumentType]
    return means.fit_predict(rows)
