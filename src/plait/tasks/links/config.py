"""The configuration of the links task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from plait.errors import InputError
from plait.training.config import TrainingConfig, option


@dataclass(frozen=True, kw_only=True)
class LinksConfig(TrainingConfig):
    """Recommend connections of one graph.

    Example
    -------
    >>> from plait.tasks.links.config import LinksConfig
    >>> LinksConfig.of({"data": "cora"}, "kipf2016").embedding_size
    16
    """

    architecture: ClassVar[Sequence[str]] = (
        "operator", "hidden_size", "embedding_size", "layers", "heads", "k", "scorer",
    )  # fmt: skip
    paths: ClassVar[Sequence[str]] = ("edges", "nodes")
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "kipf2016": {
            "hidden_size": 32,
            "embedding_size": 16,
            "dropout": 0.0,
            "valid_share": 0.05,
            "test_share": 0.1,
            "steps": 200,
            "patience": 0,
        },
    }

    data: str = option(
        "",
        "karate, florentine, les-miserables, davis, digits, cora or amazon-computers. Default: "
        "karate, unless --edges is given.",
    )
    edges: str = option("", "Your own graph: a CSV file with columns source, target (and weight).")
    nodes: str = option("", "Its nodes: a CSV file with an id and features.")
    valid_share: float = option(
        0.1, "Share of the connections that is held out to choose weights.", least=0, below=1
    )
    test_share: float = option(
        0.2, "Share of the connections that is held out to test on.", least=0, below=1
    )
    operator: Literal["gcn", "attention", "chebyshev", "diffusion", "dense"] = option(
        "gcn", "How a node hears its neighbours; dense: not at all."
    )
    hidden_size: int = option(64, "Features of a node between the layers.", least=1, below=2**20)
    embedding_size: int = option(32, "Numbers that stand for a node.", least=1, below=2**20)
    layers: int = option(2, "Layers, the last of which gives these.", least=1, below=1001)
    heads: int = option(8, "Heads of attention, between the layers.", least=1)
    k: int = option(
        2, "Terms of a Chebyshev filter, or of diffusion in each direction.", least=1, below=1001
    )
    scorer: Literal["dot", "mlp"] = option(
        "dot", "What scores a pair: the inner product of both, or a small network on their product."
    )
    hits: int = option(20, "The k of hits@k.", least=1)
    dropout: float = option(
        0.5, "Share of each layer's inputs dropped in training.", least=0, below=1
    )
    steps: int = option(500, "Weight updates, each over all connections.", least=1)
    lr: float = option(0.01, "Learning rate (of Adam).", least=0)
    patience: int = option(
        100, "Steps without a better validation after which to stop; 0: none.", least=0
    )
    validate_every: int = option(5, "Steps between validations; 0: a tenth of all.", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.edges and self.data:
            raise InputError("give --data or --edges, not both")
        if self.nodes and not self.edges:
            raise InputError("--nodes goes with --edges, a graph of your own")
        if not self.edges and not self.data:
            object.__setattr__(self, "data", "karate")
        shares = self.valid_share, self.test_share
        if min(shares) <= 0 or sum(shares) >= 1:
            raise InputError(
                "--valid-share and --test-share must be more than 0, and leave connections to "
                f"learn from, not {shares[0]} and {shares[1]}"
            )
