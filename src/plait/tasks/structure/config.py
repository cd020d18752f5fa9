"""The configuration of the structure task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from plait.errors import InputError
from plait.nn.registry import CELLS, OPERATORS, GraphOptions, operator_names
from plait.training.config import TrainingConfig, option

SEARCHES = ("bfs", "dfs")
"""Orders in which nodes are read one by one: breadth first, depth first."""


@dataclass(frozen=True, kw_only=True)
class StructureConfig(TrainingConfig):
    """Answer a question about a graph, reading it as a graph or as a sequence of its nodes.

    Example
    -------
    >>> from plait.tasks.structure.config import StructureConfig
    >>> StructureConfig(network="lstm-bfs").nodes
    16
    """

    architecture: ClassVar[Sequence[str]] = ("network", "hidden_size", "layers", "heads", "k")
    subject: ClassVar[str] = "problem"

    problem: Literal["neighbours", "order"] = option(
        "neighbours",
        "What is asked. neighbours: are two of the four marked nodes of a random graph joined by "
        "an edge; order: which of two marks comes first along a path.",
    )
    network: str = option(
        "gcn",
        f"An operator, for layers over the graph ({', '.join(operator_names())}; dense: no "
        "edges), or a cell, to read the nodes one by one, breadth first (lstm-bfs, gru-bfs, …) or "
        "depth first (lstm-dfs, …).",
    )
    nodes: int = option(16, "Nodes of a graph.", least=12, below=10_000)
    hidden_size: int = option(32, "Features of a node, or of a state.", least=1, below=2**20)
    layers: int = option(2, "Stacked layers.", least=1, below=1001)
    heads: int = option(4, "Heads of attention.", least=1)
    k: int = option(2, "Terms of diffusion in each direction.", least=1, below=1001)
    batch_size: int = option(32, "Graphs of a batch, per process.", least=1)
    steps: int = option(600, "Weight updates.", least=1)
    lr: float = option(0.003, "Learning rate.", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        cell, _, order = self.network.rpartition("-")
        if self.network not in OPERATORS and (cell not in CELLS or order not in SEARCHES):
            raise InputError(
                f"--network must be {' or '.join(OPERATORS)}, or a cell with -bfs or -dfs, such as "
                f"lstm-bfs, not {self.network!r}"
            )
        self.graph_options.require_width(self.hidden_size)

    @property
    def search(self) -> str:
        """The order in which a sequence model reads the nodes; empty: layers over the graph."""
        order = self.network.rpartition("-")[2]
        return "" if self.network in OPERATORS else order

    @property
    def cell(self) -> str:
        """The cell of a sequence model."""
        return self.network.removesuffix(f"-{self.search}")

    @property
    def graph_options(self) -> GraphOptions:
        """What makes the operator, of a model over the graph."""
        return GraphOptions(self.network, self.k, self.heads)
