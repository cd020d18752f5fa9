"""The configuration of the structure task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from plait.errors import InputError
from plait.training.config import TrainingConfig, option


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
    network: Literal[
        "gcn", "attention", "diffusion", "dense", "lstm-bfs", "lstm-dfs", "gru-bfs", "gru-dfs"
    ] = option(
        "gcn",
        "Who answers. gcn, attention, diffusion: layers over the graph; dense: without its edges; "
        "lstm- or gru-: over the nodes one by one, breadth first (bfs) or depth first (dfs).",
    )
    nodes: int = option(16, "Nodes of a graph.", least=12, below=10_000)
    hidden_size: int = option(32, "Features of a node, or of a state.", least=1, below=2**20)
    layers: int = option(2, "Layers, one on another.", least=1, below=1001)
    heads: int = option(4, "Heads of attention.", least=1)
    k: int = option(2, "Terms of diffusion in each direction.", least=1, below=1001)
    batch_size: int = option(32, "Graphs of a batch.", least=1)
    steps: int = option(600, "Weight updates.", least=1)
    lr: float = option(0.003, "Learning rate (of Adam).", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network == "attention" and self.hidden_size % self.heads:
            raise InputError(
                f"--heads {self.heads} must divide --hidden-size {self.hidden_size}: each head "
                "gives a part of it"
            )
