"""Operators: how a node aggregates its neighbours.

An operator declares the weights that map `inputs` features to `outputs` features, and applies
them. It owns no weights; `GraphConv` and `Recurrent` do, the latter once for the input side and
once for the recurrent side, with the weights of all gates stacked.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.kernels.gpu.graphs import refusal_of
from plait.kernels.handles import key

Layer = TypeVar("Layer", bound="OperatorLayer")


class Basis(NamedTuple):
    """The terms B_m of a linear operator y = Σ_m W_m B_m x.

    The terms B_m are x itself (with `identity`), then for every shift S the Chebyshev polynomials
    T_1(S) … T_order(S), with T_k = 2 S T_{k−1} − T_{k−2} and T_0 = 1. Its one weight is called
    "weight", `[outputs, terms, inputs]`, or `[outputs, inputs]` with one term.

    Shapes
    ------
    Each shift is over the N nodes of the graph, `[N, N]`.

    Raises
    ------
    Nothing.

    Example
    -------
    >>> import torch
    >>> from plait import Chebyshev, Graph
    >>> path = Graph.from_edges([(0, 1), (1, 2)]).to_undirected()
    >>> basis = Chebyshev(3).basis(path, torch.float32)
    >>> len(basis.shifts), basis.order, basis.identity          # x, T_1(S) x, T_2(S) x
    (1, 2, True)
    """

    shifts: tuple[Any, ...]  # of kernels.sparse.Shift
    order: int
    identity: bool


class Operator(Protocol):
    """The interface of operators; a class with these two methods is an operator.

    `weight_shapes` returns the shapes for one gate. A recurrent layer stacks its gates along the
    first axis of every weight, and `apply` gets the stacked weights of one or more gates and
    returns their outputs concatenated. If the first axis of every weight is `outputs`, as for a
    matrix, no special care is needed.

    Optional members:

    - `check(x, graph)` refuses unsuitable arguments before anything is computed; an operator with
      it aggregates neighbours, so a recurrent layer requires nodes, `x [T, B, N, F]`;
    - `score_weights`, the names of weights that only compare nodes; a recurrent layer initialises
      them by Glorot's rule, not by its own scheme;
    - `basis(graph, dtype)`, its `Basis`, if it is linear: then compiled loops run it in recurrent
      layers (a subclass that overrides `apply` but not `basis` runs through its `apply`);
    - `through_products = True`, if it reads x through products with the rows of `weights["weight"]`
      alone, as every operator with a `basis` does: then sparse features stay sparse;
    - `reach`, the hops from which a node's output comes, if samples of neighbours suffice for it;
    - `not_recorded(outputs)`, why `apply` for so many outputs cannot be recorded as a CUDA graph,
      or None, if on one graph its work depends on shapes alone: it fetches nothing from the GPU
      and draws no random numbers; without it recurrent layers launch it step by step;
    - `draw(batch, graph)`, what `apply` draws at random for `x [batch, N, F]`, a tensor
      `[batch, ...]`, or None where it draws nothing; `apply` takes it as a fourth argument, so that
      it is drawn outside of a recording;
    - `on_edges = True`, if `apply` keeps numbers for every edge and output for its gradient: the
      memory of a recording is estimated with it;
    - `without_dropout`, the operator in evaluation, if it uses dropout in training;
    - `explain(inputs, outputs, graph)`, one line for `layer.explain()`; graph may be None.

    An operator may be an `nn.Module` with its own parameters. Its `apply` is then the operator's,
    not `nn.Module.apply`; `layer.apply(init)` still reaches it (see `OperatorLayer`).

    Shapes
    ------
    x : `[..., (N,) inputs]`; output : `[..., (N,) outputs]`, for several gates concatenated

    Raises
    ------
    TypeError
        From a layer, for anything that is not an operator.
    ValueError, InputError
        From `check`, for features or a graph that do not fit.

    Example
    -------
    An operator on a ring, where each node aggregates itself and the node before it:

    >>> import torch
    >>> from plait import GRU, Recurrent
    >>> class Ring:
    ...     def weight_shapes(self, inputs, outputs):
    ...         return {"weight": (outputs, 2 * inputs)}
    ...     def apply(self, x, weights, graph):                        # x [..., N, F]
    ...         basis = torch.cat([x, x.roll(1, dims=-2)], dim=-1)     # [..., N, 2F]
    ...         return torch.nn.functional.linear(basis, weights["weight"])
    >>> layer = Recurrent(GRU(), 3, 8, operator=Ring())
    >>> y, h = layer(torch.randn(5, 2, 4, 3))                          # T, B, N, F
    >>> y.shape, h.shape
    (torch.Size([5, 2, 4, 8]), torch.Size([1, 2, 4, 8]))
    """

    def weight_shapes(self, inputs: int, outputs: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the weights of one gate, by name."""
        ...

    def apply(self, x: Tensor, weights: Mapping[str, Tensor], graph: Any) -> Tensor:
        """Return `[..., (N,) outputs]` for `x [..., (N,) inputs]` and these weights."""
        ...


@dataclass(frozen=True)
class Dense:
    """No neighbours: y = W x, with the same matrix at every step and node.

    With `Dense`, `Recurrent` is the recurrent network of `torch.nn`; nodes, if any, are independent
    sequences, and a graph is ignored.

    Shapes
    ------
    x : `[..., inputs]`; y : `[..., outputs]`; weight : `[outputs, inputs]`

    Example
    -------
    >>> from plait import Dense
    >>> Dense().weight_shapes(3, 8)
    {'weight': (8, 3)}
    """

    reach = 0

    def weight_shapes(self, inputs: int, outputs: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of one matrix."""
        return {"weight": (outputs, inputs)}

    def apply(self, x: Tensor, weights: Mapping[str, Tensor], graph: Any) -> Tensor:
        """Return x Wᵀ."""
        return F.linear(x, weights["weight"])

    def basis(self, graph: Any, dtype: torch.dtype) -> Basis:
        """Return the identity alone."""
        return Basis((), 0, True)


class OperatorLayer(nn.Module):
    """A module that contains an operator, whose `apply` differs from `nn.Module.apply`.

    `nn.Module.apply(fn)` calls `apply(fn)` of every child, a name that an operator uses for
    something else. Plait's layers derive from this class, and so should your own module if it
    contains an operator that is a module.

    Shapes
    ------
    Those of the subclass.

    Raises
    ------
    Nothing of its own.

    Example
    -------
    >>> import torch
    >>> from plait import GCN, GraphConv
    >>> class Scaled(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.scale = torch.nn.Parameter(torch.ones(()))
    ...     def weight_shapes(self, inputs, outputs):
    ...         return GCN().weight_shapes(inputs, outputs)
    ...     def apply(self, x, weights, graph):
    ...         return self.scale * GCN().apply(x, weights, graph)
    >>> layer = GraphConv(Scaled(), 3, 4).apply(lambda module: print(type(module).__name__))
    Scaled
    ParameterDict
    GraphConv
    """

    def apply(self: Layer, fn: Callable[[nn.Module], None]) -> Layer:
        """Call `fn` on every submodule, then on this one, as `nn.Module.apply` does."""
        _apply_within(self, fn)
        return self

    def run_weight_hooks(self) -> None:
        """Run the hooks that compute weights before a call, such as `nn.utils.weight_norm`'s.

        They are registered on the modules that hold weights, which are never called.
        """
        for module in self.weight_modules():
            for hook in module._forward_pre_hooks.values():
                hook(module, ())

    def weight_modules(self) -> Iterable[nn.Module]:
        """Return the modules that hold weights and are not called."""
        return (m for m in self.modules() if m is not self)


def _apply_within(module: nn.Module, fn: Callable[[nn.Module], None]) -> None:
    for child in module.children():
        if hasattr(child, "weight_shapes"):  # its `apply` is an operator's
            _apply_within(child, fn)
        else:
            child.apply(fn)
    fn(module)


def checked_operator(operator: Any) -> Operator:
    """Return an operator; refuse anything else, such as its class."""
    if isinstance(operator, type) or not hasattr(operator, "weight_shapes"):
        raise TypeError(f"operator must be an operator such as Dense(), not {named(operator)}")
    return operator


def named(given: Any) -> str:
    """Name what is no cell or operator; of a class with the fix, a call."""
    if isinstance(given, type):
        return f"the class {given.__name__}: write {given.__name__}(…)"
    return repr(given)


def for_mode(operator: Operator, training: bool) -> Operator:
    """Return the operator for training or for evaluation."""
    return operator if training else getattr(operator, "without_dropout", operator)


@torch._dynamo.assume_constant_result
def operator_key(operator: Operator) -> str:
    """Return how compiled programs name an operator."""
    return key(by_value(operator), operator)


def not_recorded(operator: Operator, outputs: int) -> str | None:
    """Return why an operator within another one cannot be recorded as a CUDA graph, or None."""
    return None if basis_of(operator) is not None else refusal_of(operator, outputs)


def drawn_by(operator: Operator, batch: int, graph: Any) -> Tensor | None:
    """Return what an operator draws at random for a call, or None."""
    draw: Any = getattr(operator, "draw", None)
    return None if draw is None else draw(batch, graph)


def check_nodes(operator: Operator, x: Tensor, nodes: int) -> None:
    """Refuse features of other nodes than those that an operator has embeddings of."""
    if x.ndim < 2 or x.shape[-2] != nodes:
        raise ValueError(
            f"x must be [..., {nodes}, F], for the {nodes} nodes of {type(operator).__name__}; got "
            f"shape {list(x.shape)}"
        )


def by_value(operator: Operator) -> tuple[str, Operator] | None:
    """Return a value that determines what an operator computes; None: its identity does."""
    kind = type(operator)
    if not is_dataclass(operator) or kind.__hash__ in (None, object.__hash__):
        return None
    return f"{kind.__module__}.{kind.__qualname__}", operator


def basis_of(operator: Operator) -> Callable[[Any, torch.dtype], Basis] | None:
    """Return an operator's `basis`; None without one, or if a subclass overrides `apply` alone."""
    basis = getattr(operator, "basis", None)
    if basis is None:
        return None
    for kind in type(operator).__mro__:
        if "basis" in vars(kind):
            return basis
        if "apply" in vars(kind):
            return None
    return basis
