"""The model of the digits task: an encoder reads frames, a decoder predicts the next ones."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from torch import Tensor, nn

from plait.nn.cells import LSTM
from plait.nn.filters import Chebyshev
from plait.nn.graph import Graph
from plait.nn.operators import Dense
from plait.nn.recurrent import Recurrent
from plait.tasks.digits.config import DigitsConfig


class DigitsModel(nn.Module):
    r"""GCRN's encoder and decoder (Seo et al. 2016), Model 2, over the patches of frames.

    s_t = encoder(x_t, s_{t−1}),  t = 1 … P;  h_k, s_{P+k} = decoder(s_{P+k−1}),
    p_k = σ(V h_k + v),  k = 1 … H

    Both are `LSTM(peephole=True)` × `Chebyshev(K)` over a graph: a node is a patch, its channels
    the patch's pixels, joined with the nearest patches by `Graph.from_points`. The decoder has no
    input and begins with the encoder's last states; V is the same at every node.

    The fully connected network (Shi et al. 2015) is the same over one patch as large as the frame,
    with `Dense()` for the filter.

    Parameters
    ----------
    config : DigitsConfig

    Shapes
    ------
    frames : `[P, B, S, S]`, grey levels from 0 to 1

    logits of the next frames' : `[H, B, S, S]`

    Example
    -------
    >>> import torch
    >>> from plait.tasks.digits.config import DigitsConfig
    >>> from plait.tasks.digits.model import DigitsModel
    >>> model = DigitsModel(DigitsConfig(size="paper"))
    >>> sum(p.numel() for p in model.parameters())
    1629712
    >>> DigitsModel(DigitsConfig(horizon=4))(torch.rand(10, 2, 32, 32)).shape
    torch.Size([4, 2, 32, 32])
    """

    def __init__(self, config: DigitsConfig) -> None:
        super().__init__()
        self.config = config
        over_graph = config.network == "gcrn"
        options: dict[str, Any] = {
            "operator": Chebyshev(config.order) if over_graph else Dense(),
            "layers": config.layers,
            "init": "orthogonal",
        }
        channels, H = config.window**2, config.hidden_size
        self.encoder = Recurrent(LSTM(peephole=True), channels, H, **options)
        self.decoder = Recurrent(LSTM(peephole=True), 0, H, **options)
        self.output = nn.Linear(H, channels)
        self.graph = patch_graph(config) if over_graph else None

    @classmethod
    def from_facts(cls, config: DigitsConfig, facts: Mapping[str, Any]) -> Self:
        """Rebuild the model that a run folder describes, without its weights."""
        return cls(config)

    def forward(self, frames: Tensor) -> Tensor:
        """Return the logits `[H, B, S, S]` of the frames that follow `[P, B, S, S]`."""
        side = self.config.window
        if self.graph is not None and self.graph.device != frames.device:
            self.graph = self.graph.to(frames.device)
        given = patches(frames, side)  # [P, B, N, side²]
        _, state = self.encoder(given, graph=self.graph)
        nothing = given.new_zeros(self.config.horizon, *given.shape[1:3], 0)
        h, _ = self.decoder(nothing, state, graph=self.graph)  # [H, B, N, hidden]
        return unpatched(self.output(h), side)


def patch_graph(config: DigitsConfig) -> Graph:
    """Join every patch with those whose centres are nearest, the nearer the stronger."""
    across = np.arange(config.frame // config.window)
    centres = np.stack(np.meshgrid(across, across, indexing="ij"), -1).reshape(-1, 2)
    return Graph.from_points(centres, config.neighbours)


def patches(frames: Tensor, side: int) -> Tensor:
    """Cut frames `[..., S, S]` into `[..., N, side²]`, row by row.

    >>> import torch
    >>> from plait.tasks.digits.model import patches
    >>> patches(torch.arange(16).view(4, 4), 2).tolist()
    [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    """
    cut = frames.unflatten(-1, (-1, side)).unflatten(-3, (-1, side))  # [..., R, side, C, side]
    return cut.transpose(-3, -2).flatten(-2).flatten(-3, -2)


def unpatched(patches: Tensor, side: int) -> Tensor:
    """Put `[..., N, side²]` together again into frames `[..., S, S]`."""
    across = round(patches.shape[-2] ** 0.5)
    cut = patches.unflatten(-1, (side, side)).unflatten(-3, (across, across))
    return cut.transpose(-3, -2).flatten(-2).flatten(-3, -2)
