"""`GraphConv`: one operator with its weights."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from plait.nn.graph import Graph, as_graph
from plait.nn.operators import Operator, OperatorLayer, checked_operator, for_mode


class GraphConv(OperatorLayer):
    r"""A layer over a graph: h = W * x + b, with `*` the operator.

    Parameters
    ----------
    operator : Operator
        How a node aggregates its neighbours: `GCN()`, `Chebyshev(k)`, `Diffusion(k)`,
        `Attention(heads)`, `Dense()`, or your own.
    inputs, outputs : int
        Features of a node before and after.
    bias : bool

    Shapes
    ------
    x : `[..., N, inputs]`; all leading dimensions share the graph

    h : `[..., N, outputs]`

    Raises
    ------
    ValueError
        For sizes below 1, and for x or a graph that do not fit; also of the operator.
    InputError
        For edges that the operator cannot use, such as negative weights.
    TypeError
        If `operator` is not an operator.

    Example
    -------
    >>> import torch
    >>> from plait import GCN, Graph, GraphConv
    >>> triangle = Graph.from_edges([(0, 1), (1, 2), (2, 0)]).to_undirected()
    >>> conv = GraphConv(GCN(), 4, 8)
    >>> conv(torch.randn(3, 4), triangle).shape
    torch.Size([3, 8])
    >>> print(conv.explain())
    shift first, because 4 inputs are no more than 8 outputs
    """

    def __init__(self, operator: Operator, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        for name, value in (("inputs", inputs), ("outputs", outputs)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self.operator = checked_operator(operator)
        self.inputs, self.outputs = inputs, outputs
        shapes = operator.weight_shapes(inputs, outputs)
        self.weights = nn.ParameterDict({name: torch.empty(s) for name, s in shapes.items()})
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise the weights: uniform by Glorot & Bengio (2010), term by term; bias 0.

        The bound is √(6 / (fan-in + fan-out)), computed for each term's matrix.
        """
        for weight in self.weights.values():
            glorot_(weight)
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Tensor, graph: Graph | None = None) -> Tensor:
        """Return `[..., N, outputs]` for `x [..., N, inputs]`.

        The graph may be a `Data` or `Batch` of PyTorch Geometric.
        """
        self.run_weight_hooks()
        graph = as_graph(graph)
        if not isinstance(x, Tensor):
            raise TypeError(f"x must be a tensor, not {type(x).__name__}")
        if x.shape[-1:] != (self.inputs,):
            raise ValueError(f"x must be [..., N, {self.inputs}]; got shape {list(x.shape)}")
        h = for_mode(self.operator, self.training).apply(x, dict(self.weights.items()), graph)
        return h if self.bias is None else h + self.bias

    def weight_modules(self) -> tuple[nn.Module, ...]:
        """Return the module that holds the weights."""
        return (self.weights,)

    def explain(self, graph: Graph | None = None) -> str:
        """Return in words how the operator computes, and why; with a graph, on that graph."""
        graph = as_graph(graph)
        describe: Any = getattr(self.operator, "explain", None)
        return (
            f"{self.operator!r}" if describe is None else describe(self.inputs, self.outputs, graph)
        )

    def extra_repr(self) -> str:
        """Return the arguments of the constructor."""
        text = f"{self.operator!r}, {self.inputs}, {self.outputs}"
        return text if self.bias is not None else f"{text}, bias=False"


def glorot_(weight: Tensor) -> None:
    """Fill with uniform numbers within √(6 / (fan-in + fan-out)), the last and first sizes."""
    if weight.numel():
        bound = math.sqrt(6 / (weight.shape[-1] + weight.shape[0]))
        weight.uniform_(-bound, bound)
