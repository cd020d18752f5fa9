"""The network of the memory task: what is left of a sequence after its last step."""

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from plait.nn.forms import as_tuple
from plait.nn.recurrent import Recurrent
from plait.nn.registry import cell_named
from plait.tasks.memory.cells import MEMORY_CELLS
from plait.tasks.memory.config import MemoryConfig
from plait.tasks.memory.problems import problem_named


class MemoryModel(nn.Module):
    """Reads a sequence and answers from its last state.

    e_t = E[x_t] (real numbers as they are),  h_t = Recurrent(e_t, h_{t−1}),  p = V h_T + b

    With two directions h_T is the forward state after the last step joined with the reversed one
    after the first.

    Shapes: tokens `[T, B]`, or reals `[T, B, F]`, to logits `[B, classes]`, or to numbers `[B]`.

    Example
    -------
    >>> import torch
    >>> from plait.tasks.memory.config import MemoryConfig
    >>> from plait.tasks.memory.model import MemoryModel
    >>> config = MemoryConfig(cell="gru-course", hidden_size=256, embedding_size=3)
    >>> model = MemoryModel(config)
    >>> sum(p.numel() for p in model.parameters())          # the report's GRU
    199435
    >>> model(torch.zeros(16, 5, dtype=torch.long)).shape
    torch.Size([5, 2])
    """

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__()
        problem = problem_named(config.problem, config.length)
        self.embedding = (
            nn.Embedding(problem.tokens, config.embedding_size) if problem.tokens else None
        )
        self.recurrent = Recurrent(
            cell_named(config.cell, MEMORY_CELLS),
            config.embedding_size if problem.tokens else problem.features,
            config.hidden_size,
            layers=config.layers,
            bidirectional=config.bidirectional,
            init=config.init,
        )
        self.classes = problem.classes
        width = config.hidden_size * self.recurrent.num_directions
        self.output = nn.Linear(width, self.classes or 1)
        if self.embedding is not None and config.init != "torch":
            _spread(self.embedding.weight)
        if config.init == "orthogonal":
            nn.init.xavier_uniform_(self.output.weight)
        elif config.init == "kaiming":
            nn.init.kaiming_normal_(self.output.weight)
        if config.init != "torch":
            nn.init.zeros_(self.output.bias)

    @classmethod
    def from_facts(cls, config: MemoryConfig, facts: Mapping[str, Any]) -> Self:
        """Rebuild the model that a run folder describes, without its weights."""
        return cls(config)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Answer; `lengths [B]` where sequences end before the padding behind them."""
        if self.embedding is not None:
            x = self.embedding(x)  # [T, B, E]
        _, state = self.recurrent(x, lengths=lengths)
        h = as_tuple(state)[0]  # [layers·D, B, H]
        last = torch.cat(tuple(h[-self.recurrent.num_directions :]), -1)  # [B, D·H]
        answer = self.output(last)
        return answer if self.classes else answer[:, 0]


def _spread(embedding: Tensor) -> None:
    """Draw tokens at right angles to one another, of unit variance.

    Drawn one by one, two of three tokens in three numbers may lie side by side, and a network
    takes several times the steps to distinguish them.
    """
    nn.init.orthogonal_(embedding, gain=math.sqrt(max(embedding.shape)))
