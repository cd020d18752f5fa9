"""The configuration of the links task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from plait.errors import InputError
from plait.tasks.nodes.config import NetworkConfig
from plait.training.config import option


@dataclass(frozen=True, kw_only=True)
class LinksConfig(NetworkConfig):
    """Predict the missing edges of one graph.

    Example
    -------
    >>> from plait.tasks.links.config import LinksConfig
    >>> LinksConfig.of({"data": "cora"}, "kipf2016").embedding_size
    16
    """

    architecture: ClassVar[Sequence[str]] = (
        "operator", "hidden_size", "embedding_size", "layers", "heads", "k", "scorer",
    )  # fmt: skip
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "kipf2016": {
            "hidden_size": 32,
            "embedding_size": 16,
            "dropout": 0.0,
            "scorer": "dot",
            "hide": 0.0,
            "valid_share": 0.05,
            "test_share": 0.1,
            "steps": 200,
            "patience": 0,
        },
    }

    smoothing = 5  # few edges are held out, and an early score may be high by chance

    valid_share: float = option(
        0.1, "Share of the edges that is held out to choose weights.", least=0, below=1
    )
    test_share: float = option(
        0.2, "Share of the edges that is held out to test on.", least=0, below=1
    )
    embedding_size: int = option(32, "Embedding dimension of a node.", least=1, below=2**20)
    layers: int = option(2, "Layers, the last of which gives the embedding.", least=1, below=1001)
    scorer: Literal["dot", "mlp", "ncn"] = option(
        "mlp", "What scores a pair, from the embeddings: dot, their inner product; mlp, an MLP on "
        "their elementwise product; ncn, an MLP on that and the sum over the common neighbours.",
    )  # fmt: skip
    hide: float = option(
        0.3, "Share of the edges that each step hides from the layers and learns to score; "
        "0: the layers have all of them. Steps on samples hide none.", least=0, below=1,
    )  # fmt: skip
    hits: int = option(20, "The k of hits@k.", least=1)
    steps: int = option(500, "Weight updates, each over all edges.", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = self.valid_share, self.test_share
        if min(shares) <= 0 or sum(shares) >= 1:
            raise InputError(
                "--valid-share and --test-share must be more than 0, and leave edges to "
                f"learn from, not {shares[0]} and {shares[1]}"
            )
