"""Papers by name: each is a cell × an operator, or states why it is not.

Each docstring names where the reference code differs from the paper.
"""

from plait.zoo.events import RGNN, rgnn
from plait.zoo.forecasting import STID, GraphWaveNet
from plait.zoo.recurrent import GCRN1, agcrn, dcrnn, gconv_gru, gcrn, gcrn_m1, tgcn

__all__ = [
    "GCRN1",
    "RGNN",
    "STID",
    "GraphWaveNet",
    "agcrn",
    "dcrnn",
    "gconv_gru",
    "gcrn",
    "gcrn_m1",
    "rgnn",
    "tgcn",
]
