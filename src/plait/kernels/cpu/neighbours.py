"""Drawing neighbours from edges that are sorted by target, in compiled code.

Random numbers are counted, not drawn in sequence: those of a node depend on a key, on the node and
on the hop alone. So a sample is the same whatever the number of threads or the order of the nodes.
"""

import numpy as np
from numba import njit, uint64

from plait.kernels.cpu.jit import compiled, parallel_for

BLOCK = 2048
"""Nodes whose neighbours one thread draws at a time."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_EMPTY = np.int64(-1)


def draw_rows(
    pointer: np.ndarray,
    source: np.ndarray,
    weight: np.ndarray,
    nodes: np.ndarray,
    fanout: int,
    replace: bool,
    key: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw edges into each of some nodes.

    Parameters
    ----------
    pointer : int64 array `[N + 1]`
        The edges into node i are those from `pointer[i]` to `pointer[i + 1]`.
    source : int32 or int64 array `[E]`
        Ascending among the edges into one node.
    weight : float32 array `[E]`, or `[0]` where every edge weighs 1
    nodes : int64 array `[n]`
    fanout : int
        Edges to draw into a node; −1: all. A self-loop is always taken and does not count.
    replace : bool
        Draw with replacement: an edge drawn c times weighs c times as much.
    key : int

    Returns
    -------
    ends : int64 array `[n + 1]`
        The edges drawn into `nodes[k]` are those from `ends[k]` to `ends[k + 1]`.
    sources : int64 array
    weights : float32 array
        Scaled so that the expected sum over a node's edges is that of all its edges.
    """
    n = len(nodes)
    ends = np.zeros(n + 1, np.int64)
    _most(pointer, nodes, fanout, ends)
    room = int(ends[-1])
    sources, weights = np.empty(room, np.int64), np.empty(room, np.float32)
    taken = np.empty(n, np.int64)
    limit = np.uint64(key & 0xFFFF_FFFF_FFFF_FFFF)

    def block(first: int) -> None:
        _draw(
            pointer, source, weight, nodes, fanout, replace, limit, ends, sources, weights, taken,
            first, min(first + BLOCK, n),
        )  # fmt: skip

    parallel_for(block, range(0, n, BLOCK))
    if int(taken.sum()) == room:
        return ends, sources, weights
    packed = np.zeros(n + 1, np.int64)
    _close_gaps(ends, taken, sources, weights, packed)
    return packed, sources[: packed[-1]], weights[: packed[-1]]


class Numbering:
    """Numbers of nodes by the order in which they are met: a hash table in two arrays.

    Its size goes with the nodes met, not with those of the graph.

    Example
    -------
    >>> import numpy as np
    >>> from plait.kernels.cpu.neighbours import Numbering
    >>> numbering = Numbering()
    >>> numbering.of(np.array([70, 5, 70])).tolist(), numbering.nodes.tolist()
    ([0, 1, 0], [70, 5])
    """

    def __init__(self) -> None:
        self._keys = np.full(1024, _EMPTY)
        self._numbers = np.empty(1024, np.int64)
        self._nodes = np.empty(512, np.int64)
        self.count = self.given = 0

    @property
    def nodes(self) -> np.ndarray:
        """The nodes met, int64 `[count]`."""
        return self._nodes[: self.count]

    def of(self, nodes: np.ndarray) -> np.ndarray:
        """Return the number of each node, int64; new ones get the next numbers."""
        self.given += len(nodes)
        most = self.count + len(nodes)
        if most > len(self._nodes):
            size = 1 << (2 * most - 1).bit_length()
            known = self.nodes
            self._keys, self._numbers = np.full(size, _EMPTY), np.empty(size, np.int64)
            self._nodes = np.empty(size // 2, np.int64)
            self.count = _number(
                self._keys, self._numbers, self._nodes, 0, known, np.empty(len(known), np.int64)
            )
        numbers = np.empty(len(nodes), np.int64)
        self.count = _number(self._keys, self._numbers, self._nodes, self.count, nodes, numbers)
        return numbers


@njit(inline="always")
def _mix(x):
    x = (x ^ (x >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> uint64(27))) * uint64(0x94D049BB133111EB)
    return x ^ (x >> uint64(31))


@njit(inline="always")
def _below(state, count, n):
    """Return a whole number from 0 to n − 1, by a product's high half (Lemire 2019); n < 2³²."""
    high = _mix(state + uint64(count) * _GOLDEN) >> uint64(32)
    return np.int64((high * uint64(n)) >> uint64(32))


@compiled
def _most(pointer, nodes, fanout, ends):
    """Count the edges that may be drawn at most: a self-loop is one more."""
    for k in range(len(nodes)):
        degree = pointer[nodes[k] + 1] - pointer[nodes[k]]
        ends[k + 1] = ends[k] + (degree if fanout < 0 else min(degree, fanout + 1))


@compiled
def _draw(
    pointer, source, weight, nodes, fanout, replace, key, ends, sources, weights, taken, first, last
):
    for k in range(first, last):
        node = nodes[k]
        begin, end = pointer[node], pointer[node + 1]
        at = ends[k]
        loop = _find(source, begin, end, node)
        others = end - begin - (loop >= 0)
        if loop >= 0:
            sources[at] = node
            weights[at] = weight[loop] if len(weight) else np.float32(1)
            at += 1
        if fanout < 0 or (others <= fanout and not replace):
            for e in range(begin, end):
                if e != loop:
                    sources[at] = source[e]
                    weights[at] = weight[e] if len(weight) else np.float32(1)
                    at += 1
        elif fanout > 0 and others > 0:
            state = _mix(key ^ _mix(uint64(node) + _GOLDEN))
            start = at
            for i in range(fanout):
                if replace:
                    chosen = _below(state, i, others)
                else:  # Floyd's way: every set of `fanout` is as likely
                    top = others - fanout + i
                    chosen = _below(state, i, top + 1)
                    for j in range(start, at):
                        if sources[j] == chosen:
                            chosen = top
                            break
                if replace:
                    known = False
                    for j in range(start, at):
                        if sources[j] == chosen:
                            weights[j] += np.float32(1)
                            known = True
                            break
                    if known:
                        continue
                sources[at] = chosen
                weights[at] = np.float32(1)
                at += 1
            scale = np.float32(others / fanout)
            for j in range(start, at):
                e = begin + sources[j]
                if loop >= 0 and e >= loop:
                    e += 1
                sources[j] = source[e]
                weights[j] *= scale * (weight[e] if len(weight) else np.float32(1))
        taken[k] = at - ends[k]


@njit(inline="always")
def _find(source, begin, end, node):
    """Return where an edge from this node is among some edges, by bisection; −1: nowhere."""
    low, high = begin, end
    while low < high:
        middle = (low + high) >> 1
        if source[middle] < node:
            low = middle + 1
        else:
            high = middle
    return low if low < end and source[low] == node else np.int64(-1)


@compiled
def find_edges(pointer, source, targets, sources):
    """Return the places of edges that were drawn, by their ends."""
    found = np.empty(len(targets), np.int64)
    for k in range(len(targets)):
        begin, end = pointer[targets[k]], pointer[targets[k] + 1]
        found[k] = _find(source, begin, end, sources[k])
    return found


@compiled
def _close_gaps(ends, taken, sources, weights, packed):
    at = 0
    for k in range(len(taken)):
        for j in range(ends[k], ends[k] + taken[k]):
            sources[at] = sources[j]
            weights[at] = weights[j]
            at += 1
        packed[k + 1] = at


@compiled
def _number(keys, numbers, nodes, count, given, out):
    mask = uint64(len(keys) - 1)
    for k in range(len(given)):
        place = _mix(uint64(given[k]) + _GOLDEN) & mask
        while keys[place] != given[k]:
            if keys[place] == -1:
                keys[place] = given[k]
                numbers[place] = count
                nodes[count] = given[k]
                count += 1
                break
            place = (place + uint64(1)) & mask
        out[k] = numbers[place]
    return count


@compiled
def sort_rows(ends, sources, weights):
    """Sort the edges into each node by their sources, in place; no two are the same."""
    for k in range(len(ends) - 1):
        begin, end = ends[k], ends[k + 1]
        if end - begin > 64:
            order = np.argsort(sources[begin:end])
            sources[begin:end] = sources[begin:end][order]
            weights[begin:end] = weights[begin:end][order]
            continue
        for i in range(begin + 1, end):
            s, w, j = sources[i], weights[i], i - 1
            while j >= begin and sources[j] > s:
                sources[j + 1], weights[j + 1] = sources[j], weights[j]
                j -= 1
            sources[j + 1], weights[j + 1] = s, w


def first_asymmetric(
    pointer: np.ndarray, source: np.ndarray, weight: np.ndarray
) -> tuple[int, int] | None:
    """Return an edge without a reverse of the same weight, to five digits; None: there is none."""
    found = np.empty(2, np.int64)
    if _asymmetric(pointer, source, weight, found):
        return int(found[0]), int(found[1])
    return None


@compiled
def _asymmetric(pointer, source, weight, found):
    for node in range(len(pointer) - 1):
        for e in range(pointer[node], pointer[node + 1]):
            other = np.int64(source[e])
            back = _find(source, pointer[other], pointer[other + 1], node)
            differs = back < 0
            if not differs and len(weight):
                a, b = abs(weight[e]), abs(weight[back])
                differs = abs(weight[e] - weight[back]) > np.float32(1e-5) * max(a, b)
            if differs:
                found[0], found[1] = other, node
                return True
    return False
