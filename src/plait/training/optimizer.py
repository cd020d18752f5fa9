"""The optimizer: AdamW, with weight decay of matrices alone."""

from collections.abc import Sequence

from torch.nn import Parameter
from torch.optim import AdamW

from plait.training.config import TrainingConfig


def make_optimizer(parameters: Sequence[Parameter], config: TrainingConfig) -> AdamW:
    """Make AdamW (Loshchilov & Hutter 2019); biases and other vectors do not decay.

    >>> import torch
    >>> from plait.training.config import TrainingConfig
    >>> from plait.training.optimizer import make_optimizer
    >>> parameters = list(torch.nn.Linear(3, 2).parameters())
    >>> optimizer = make_optimizer(parameters, TrainingConfig(weight_decay=0.1))
    >>> [(len(g["params"]), g["weight_decay"]) for g in optimizer.param_groups]
    [(1, 0.1), (1, 0.0)]
    """
    decayed = bool(config.weight_decay)  # one group is faster than two
    matrices = [p for p in parameters if p.ndim > 1 or not decayed]
    vectors = [p for p in parameters if p.ndim <= 1 and decayed]
    groups = [(matrices, config.weight_decay), (vectors, 0.0)]
    return AdamW(
        [{"params": params, "weight_decay": decay} for params, decay in groups if params],
        lr=config.lr, fused=True,
    )  # fmt: skip
