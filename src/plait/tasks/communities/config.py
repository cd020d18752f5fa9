"""The configuration of the communities task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from plait.errors import InputError
from plait.tasks.nodes.config import READING, NetworkConfig
from plait.training.config import option


@dataclass(frozen=True, kw_only=True)
class CommunitiesConfig(NetworkConfig):
    """Find the communities of one graph.

    Example
    -------
    >>> from plait.tasks.communities.config import CommunitiesConfig
    >>> CommunitiesConfig.of({"data": "cora"}, "velickovic2019").hidden_size
    512
    """

    architecture: ClassVar[Sequence[str]] = ("operator", "hidden_size", "layers", "heads", "k")
    of_edges: ClassVar[Sequence[str]] = ("nodes", "label", *READING)
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "velickovic2019": {
            "hidden_size": 512,
            "lr": 0.001,
            "patience": 20,
            "validate_every": 1,
            "steps": 10_000,
            "max_norm": 0.0,
        },
    }

    label: str = option(
        "", "A column of --nodes that the communities are compared with; it is not learnt."
    )
    communities: int = option(
        0, "Number of communities. Default: that of the labels, or of those with three nodes or "
        "more that Louvain's method finds.", least=0, below=2**31,
    )  # fmt: skip
    hidden_size: int = option(256, "Embedding dimension of a node.", least=1, below=2**20)
    layers: int = option(1, "Layers, the last of which gives the embedding.", least=1, below=1001)
    dropout: float = option(0.0, "Dropout rate of each layer's inputs.", least=0, below=1)
    lr: float = option(0.005, "Learning rate.", least=0)
    steps: int = option(300, "Weight updates, each over all nodes.", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.operator == "dense":
            raise InputError(
                "--operator dense uses no graph to find communities in; give another, such as gcn"
            )
        if self.label and not self.nodes:
            raise InputError("--label is a column of --nodes; give that table too")
