"""`GraphConfig`: the options of a model with an operator over a graph."""

from dataclasses import dataclass

from plait.nn.registry import GraphOptions, operator_names
from plait.terminal import counted
from plait.training.config import TrainingConfig, option


@dataclass(frozen=True, kw_only=True)
class GraphConfig(TrainingConfig):
    """Which operator a model aggregates neighbours with, and the options of operators.

    Raises `InputError` where heads of attention do not divide the width.
    """

    operator: str = option(
        "gcn", "How a node aggregates its neighbours; dense: not at all.", choices=operator_names
    )
    k: int = option(
        2,
        "Terms of a Chebyshev filter, or of diffusion in each direction; hops of propagation.",
        least=1,
        below=1001,
    )
    heads: int = option(4, "Heads of attention.", least=1)
    hidden_size: int = option(64, "Features of a node.", least=1, below=2**20)
    layers: int = option(2, "Stacked layers.", least=1, below=1001)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_heads()

    def require_heads(self) -> None:
        """Refuse heads of attention that do not divide the width."""
        self.graph_options.require_width(self.hidden_size)

    @property
    def sizes(self) -> str:
        """The operator and the sizes of its layers, in words."""
        return f"{self.operator}, {counted(self.layers, 'layer')}, {self.hidden_size} wide"

    @property
    def graph_options(self) -> GraphOptions:
        """What makes the operator."""
        return GraphOptions(self.operator, self.k, self.heads)
