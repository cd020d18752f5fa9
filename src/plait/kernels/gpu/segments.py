"""The rows of a sparse matrix, or the edges of nodes, cut into parts for the programs of a GPU.

A long row, such as that of a hub, would keep the others waiting. The parts of a row are merged in
their order, so a sum does not depend on the order in which programs end.
"""

from typing import NamedTuple

import torch
from torch import Tensor

SEGMENT = 256
"""Edges of a node that one program takes."""


class Segments(NamedTuple):
    """A node's edges in parts."""

    table: Tensor  # [S, 4]: node, first edge, end, unused; of the type of the edges' places
    starts: Tensor  # [N + 1], where each node's segments begin; of whole nodes it is 0 … N

    @property
    def whole(self) -> bool:
        """Whether every node has one segment, so that there is nothing to merge."""
        return len(self.table) == len(self.starts) - 1


def cut(starts: Tensor, longest: int) -> Segments:
    """Cut the edges of every node, `starts [N + 1]`, into segments."""
    first, end = starts[:-1].long(), starts[1:].long()
    parts = ((end - first + longest - 1) // longest).clamp(min=1)
    nodes = torch.repeat_interleave(parts)
    begins = torch.cat([parts.new_zeros(1), parts.cumsum(0)])
    number = torch.arange(len(nodes), device=starts.device) - begins[nodes]
    begin = first[nodes] + longest * number
    table = torch.stack([nodes, begin, torch.minimum(begin + longest, end[nodes]), 0 * nodes], 1)
    return Segments(table.to(starts.dtype).contiguous(), begins)


def merged(x: Tensor, parts: Segments, how: str = "sum") -> Tensor:
    """Reduce `[B, S, …]` over the segments of every node, in their order: `[B, N, …]`."""
    if x.numel() <= 1 or parts.whole:
        return x
    starts = parts.starts.expand(len(x), -1).contiguous()
    return torch.segment_reduce(x, how, offsets=starts, axis=1, unsafe=True)
