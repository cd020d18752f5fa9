"""Labelled graphs by name, from installed packages or from files under a data folder."""

from collections.abc import Callable
from functools import partial
from typing import Any

import networkx
import numpy as np
import scipy.sparse
import torch
from scipy.sparse import csgraph
from torch import Tensor

from plait.data import require_data
from plait.errors import InputError
from plait.graph_data.labelled_graph import LabelledGraph, NodeSplit, numbered
from plait.graph_data.planetoid import read_planetoid
from plait.nn.graph import Graph

NEIGHBOURS = 8
"""Nearest neighbours that each digit has an edge with."""


def named_labelled_graph(name: str) -> LabelledGraph:
    """Read a labelled graph by its name.

    karate : members of a karate club (Zachary 1977); an edge's weight counts their meetings outside
        it; no features; labels are the clubs after its split, with the two leaders to train on and
        all others to test on. From the package networkx.
    florentine : families of Florence around 1430, with an edge for a marriage (Padgett & Ansell
        1993); les-miserables : characters of Hugo's novel, with an edge for a common chapter (Knuth
        1993); davis : 18 women and the 14 events that they attended (Davis et al. 1941). From the
        package networkx, without features and labels.
    digits : scikit-learn's 1,797 digits of 8 × 8 grey levels, each with edges to its 8 nearest
        neighbours (`Graph.from_points`); the grey levels are the features.
    cora : 2,708 papers, with an edge for a citation, and 1,433 binary word features; the public
        split of Yang et al. (2016): 140 to train on, 500 to validate on, 1,000 to test on. A
        paper's features sum to 1, as in Kipf & Welling (2017).
    amazon-computers : goods, with an edge if often bought together, and 767 binary word features
        of their reviews (Shchur et al. 2018); as there the largest connected component, 13,381 of
        13,752.

    Raises
    ------
    InputError
        For an unknown name, and if files are missing; the message says where to put them.

    Example
    -------
    >>> from plait.graph_data import named_labelled_graph
    >>> digits = named_labelled_graph("digits")
    >>> len(digits.ids), digits.features.shape
    (1797, torch.Size([1797, 64]))
    """
    if name not in NAMED_GRAPHS:
        raise InputError(
            f"no graph named {name!r}; there are {', '.join(NAMED_GRAPHS)}; for your own give "
            "--edges and --nodes"
        )
    return NAMED_GRAPHS[name]()


def _karate() -> LabelledGraph:
    club = networkx.karate_club_graph()
    labels, classes = numbered(club.nodes[n]["club"] for n in club)
    leaders, none = torch.tensor([0, 33]), torch.tensor([], dtype=torch.long)
    members = torch.arange(1, 33)
    return LabelledGraph(
        "karate", "karate_club_graph() of networkx", tuple(map(str, club)),
        Graph.from_networkx(club), None, labels, classes, NodeSplit(leaders, none, members),
    )  # fmt: skip


def _social(name: str, function: str) -> LabelledGraph:
    graph = getattr(networkx, function)()
    ids = tuple(map(str, graph))
    return LabelledGraph(name, f"{function}() of networkx", ids, Graph.from_networkx(graph))


def _digits() -> LabelledGraph:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(np.asarray(images, dtype=np.float32) / 16)
    ids = tuple(map(str, range(len(x))))
    labels, classes = numbered(map(str, labels))
    graph = Graph.from_points(x, NEIGHBOURS)
    return LabelledGraph("digits", "load_digits() of scikit-learn", ids, graph, x, labels, classes)


def _cora() -> LabelledGraph:
    folder = require_data("graphs/planetoid/ind.cora.graph", "of the Planetoid repository").parent
    read = read_planetoid(folder, "cora")
    order = read["test.index"]
    N, tested = len(read["graph"]), np.sort(order)
    try:
        words = scipy.sparse.vstack([read["allx"], read["tx"]]).toarray()
        labels = np.concatenate([read["ally"], read["ty"]])
        words[order], labels[order] = words[tested], labels[tested]
        edges = [(s, t) for t, sources in read["graph"].items() for s in sources]
        graph = Graph(np.unique(np.array(edges), axis=0).T, num_nodes=N).to_undirected()
        if len(words) != N:
            raise ValueError(f"{len(words)} papers have words, and {N} have neighbours")
    except (ValueError, IndexError) as error:
        raise InputError(f"{folder}/ind.cora.… do not fit together: {error}") from None
    train = len(read["y"])
    parts = (torch.arange(train), torch.arange(train, train + 500), torch.from_numpy(tested))
    return LabelledGraph(
        "cora", str(folder), tuple(map(str, range(N))), graph, _shares(words),
        torch.from_numpy(labels.argmax(1)), tuple(map(str, range(labels.shape[1]))),
        NodeSplit(*parts),
    )  # fmt: skip


def _amazon_computers() -> LabelledGraph:
    path = require_data("graphs/amazon_computers.npz", "of Shchur et al. (2018)")
    try:
        with np.load(path, allow_pickle=False) as file:
            adjacency, words = (_matrix(file, of) for of in ("adj", "attr"))
            labels = torch.from_numpy(file["labels"].astype(np.int64))
        if not len(labels) == words.shape[0] == adjacency.shape[0]:
            raise ValueError("labels, words and edges differ in their number of nodes")
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is damaged or not the right file: {error}") from None
    adjacency.data[:] = 1
    _, member = csgraph.connected_components(adjacency, directed=False)
    nodes = np.flatnonzero(member == np.bincount(member).argmax())
    graph = Graph.from_adjacency(adjacency[nodes][:, nodes]).to_undirected()
    there = torch.from_numpy((words[nodes].toarray() > 0).astype(np.float32))
    classes = tuple(map(str, range(int(labels.max()) + 1)))
    return LabelledGraph(
        "amazon-computers", str(path), tuple(map(str, nodes)), graph, there, labels[nodes], classes
    )


def _matrix(file: Any, of: str) -> Any:
    """Read a sparse matrix from its three arrays and its shape."""
    parts = tuple(file[f"{of}_{part}"] for part in ("data", "indices", "indptr"))
    matrix = scipy.sparse.csr_matrix(parts, shape=file[f"{of}_shape"])
    matrix.check_format(full_check=True)
    return matrix


NAMED_GRAPHS: dict[str, Callable[[], LabelledGraph]] = {
    "karate": _karate,
    "digits": _digits,
    "cora": _cora,
    "amazon-computers": _amazon_computers,
    "florentine": partial(_social, "florentine", "florentine_families_graph"),
    "les-miserables": partial(_social, "les-miserables", "les_miserables_graph"),
    "davis": partial(_social, "davis", "davis_southern_women_graph"),
}
"""The names, and the function that reads each graph."""


def _shares(words: np.ndarray) -> Tensor:
    """Divide every row by its sum, `[N, F]`."""
    x = torch.from_numpy(np.asarray(words, dtype=np.float32))
    return x / x.sum(1, keepdim=True).clamp(min=1e-12)
