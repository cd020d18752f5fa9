"""How well a graph falls apart into communities, and how well these agree with labels."""

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from torch import Tensor

from plait.graph_data.labelled_graph import UNKNOWN


def modularity(pairs: Tensor, weights: Tensor, community: np.ndarray) -> float:
    """Return how much more weight lies inside communities than by chance, given the degrees.

    Q = Σ_c [ L_c / m − (d_c / 2m)² ]

    with m the weight of all edges, L_c of those inside c, and d_c of the ends in c. NaN
    without edges.

    Source: Newman (2004), Analysis of weighted networks.

    Parameters
    ----------
    pairs : Tensor `[2, n]`
        Edges, each once.
    weights : Tensor `[n]`
    community : integer array `[N]`

    Example
    -------
    >>> import numpy as np, torch
    >>> from plait.tasks.communities.scores import modularity
    >>> modularity(torch.tensor([[0, 2], [1, 3]]), torch.ones(2), np.array([0, 0, 1, 1]))
    0.5
    """
    u, v = community[pairs.numpy()]
    weight = weights.double().numpy()
    m = weight.sum()
    inside = weight[u == v].sum()
    ends = np.bincount(np.concatenate([u, v]), np.concatenate([weight, weight]))
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(inside / m - np.square(ends / (2 * m)).sum())


def score_communities(
    pairs: Tensor, weights: Tensor, community: np.ndarray, labels: Tensor | None
) -> dict[str, float]:
    """Return `modularity`, the number of `communities`, and the agreement with labels, if any.

    `ari` is the adjusted Rand index (Hubert & Arabie 1985), 0 by chance; `nmi` the mutual
    information over the mean of both entropies; of the nodes with a label.
    """
    scores = {
        "modularity": modularity(pairs, weights, community),
        "communities": len(np.unique(community)),
    }
    if labels is None:
        return scores
    known = (labels != UNKNOWN).numpy()
    truth, found = torch.as_tensor(labels).numpy()[known], community[known]
    agreement = adjusted_rand_score(truth, found), normalized_mutual_info_score(truth, found)
    return scores | {"ari": float(agreement[0]), "nmi": float(agreement[1])}


def by_size(community: np.ndarray) -> np.ndarray:
    """Number communities from 0 by their size, the largest first, equals by their first node.

    >>> import numpy as np
    >>> from plait.tasks.communities.scores import by_size
    >>> by_size(np.array([7, 2, 2, 9])).tolist()
    [1, 0, 0, 2]
    """
    _, first, place, counts = np.unique(
        community, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -counts))
    return np.argsort(order)[place]
