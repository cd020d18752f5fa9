"""Linear operators: polynomials in a graph's shift, with one matrix product for all gates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.errors import InputError
from plait.kernels.sparse import Shift, TracedShift, propagate
from plait.kernels.transforms import compiling, exporting
from plait.nn import shifts
from plait.nn.graph import Graph, checked_graph
from plait.nn.operators import Basis, operator_key
from plait.renamed import warn_renamed


class Filter:
    """A graph filter, y = Σ_m W_m B_m x: M basis terms B_m, each with its matrix W_m.

    The terms are polynomials in the graph's shifts: matrices over its nodes, such as Â or the
    Laplacian (graph shift operators; Sandryhaila & Moura 2013). They are x itself (with
    `includes_identity`), then for every shift S the Chebyshev polynomials T_1(S), T_2(S), …, with
    T_k = 2 S T_{k−1} − T_{k−2} and T_0 = 1. The weight is `[outputs, M, inputs]`, or a matrix when
    M = 1.

    There are two equivalent orders. Shift first: the terms of x, then one product with all
    matrices. Product first: all M products of x at once, then Clenshaw's summation, which shifts
    outputs instead of inputs. The product costs the same, so the narrower of the two is shifted.

    Shapes
    ------
    x : `[..., N, inputs]`; y : `[..., N, outputs]`; weight : `[outputs, M, inputs]`

    Raises
    ------
    ValueError, InputError
        From `check`: if x does not fit the graph, and for a negative edge weight.

    Example
    -------
    >>> import torch
    >>> from plait import Graph, GraphConv
    >>> from plait.nn import shifts
    >>> from plait.nn.filters import Filter
    >>> class Total(Filter):
    ...     terms = 2
    ...     def shifts(self, graph, dtype):
    ...         return (shifts.total(graph, -1.0, dtype),)       # Aᵀ + (1 + ε) I with ε = −1
    >>> GraphConv(Total(), 4, 8)(torch.randn(3, 4), Graph([[0, 1], [1, 2]])).shape
    torch.Size([3, 8])
    """

    includes_identity: bool = True
    shift_count: int = 1
    """How many matrices `shifts` gives, which a compiler wants to know beforehand."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Accept `hears_itself`, the name of `includes_identity` in version 0.1.0."""
        super().__init_subclass__(**options)
        if "hears_itself" in vars(cls):
            warn_renamed("Filter.hears_itself", "Filter.includes_identity")
            cls.includes_identity = vars(cls)["hears_itself"]

    @property
    def terms(self) -> int:
        """M, the number of basis terms."""
        raise NotImplementedError

    def shifts(self, graph: Graph, dtype: torch.dtype) -> tuple[Shift, ...]:
        """Return the graph's shifts for features of this type."""
        raise NotImplementedError

    def weight_shapes(self, inputs: int, outputs: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of one matrix per term."""
        terms = () if self.terms == 1 else (self.terms,)
        return {"weight": (outputs, *terms, inputs)}

    def basis(self, graph: Graph, dtype: torch.dtype) -> Basis:
        """Return the shifts and their order."""
        shifts = self.shifts(graph, dtype)
        return Basis(shifts, self.order(shifts), self.includes_identity)

    def check(self, x: Tensor, graph: Any) -> None:
        """Refuse features or a graph that do not fit, naming the fix."""
        edge = checked_graph(self, x, graph).negative_edge
        if edge is not None:
            raise InputError(
                f"{self!r} needs edge weights of at least 0, and that of {edge[0]} → {edge[1]} is "
                "negative; drop such edges or take absolute values"
            )

    def apply(self, x: Tensor, weights: Mapping[str, Tensor], graph: Any) -> Tensor:
        """Filter `x [..., N, inputs]` to `[..., N, outputs]`."""
        weight = weights["weight"]
        outputs, inputs = weight.shape[0], weight.shape[-1]
        weight = weight.view(outputs, self.terms, inputs)
        shifts: Any
        if compiling():  # what the edges say is checked when they are there
            handle, key = checked_graph(self, x, graph).handle, operator_key(self)
            shifts = tuple(TracedShift(handle, key, k) for k in range(self.shift_count))
        else:
            self.check(x, graph)
            shifts = self.shifts(graph, x.dtype)
        folded = x.movedim(-2, 0)  # [N, ..., F]: all dimensions after the nodes are one width
        if exporting():  # laid anew: a product on strides asks for sizes, which are free there
            folded = folded.clone(memory_format=torch.contiguous_format)
        combine = self._product_first if outputs < inputs else self._shift_first
        return combine(folded, weight, shifts).movedim(0, -2)

    def explain(self, inputs: int, outputs: int, graph: Graph | None = None) -> str:
        """Return in words what is multiplied first, and with a graph how its shift is stored."""
        if outputs < inputs:
            text = f"product first, because {outputs} outputs are fewer than {inputs} inputs"
        else:
            text = f"shift first, because {inputs} inputs are no more than {outputs} outputs"
        if graph is not None:
            text += f"; {self.shifts(graph, torch.get_default_dtype())[0].explain()}"
        return text

    def _shift_first(self, x: Tensor, weight: Tensor, shifts: tuple[Shift, ...]) -> Tensor:
        basis = [x] if self.includes_identity else []
        for shift in shifts:
            before, last = None, x
            for _ in range(self.order(shifts)):
                if before is None:
                    before, last = last, propagate(shift, last)
                else:
                    before, last = last, propagate(shift, last, before, times=2.0, minus=True)
                basis.append(last)
        if weight.shape[::2] == (1, 1):  # of one channel: numbers times terms, as they lie
            return sum(w * term for w, term in zip(weight.flatten(), basis, strict=True))  # pyright: ignore[reportReturnType]
        stacked = basis[0] if len(basis) == 1 else torch.cat(basis, -1)  # [N, ..., M·F]
        return F.linear(stacked, weight.flatten(1))

    def _product_first(self, x: Tensor, weight: Tensor, shifts: tuple[Shift, ...]) -> Tensor:
        matrices = weight.transpose(0, 1).flatten(0, 1)  # [M·outputs, F]
        products = list(F.linear(x, matrices).split(weight.shape[0], -1))  # M × [N, ..., outputs]
        y = products.pop(0) if self.includes_identity else None
        for shift in shifts:
            own, products = products[: self.order(shifts)], products[self.order(shifts) :]
            if own:
                last, later = own.pop(), None  # b_k = product_k + 2 S b_{k+1} − b_{k+2}
                while own:
                    plus = own.pop() if later is None else own.pop() - later
                    last, later = propagate(shift, last, plus, times=2.0), last
                if y is None or later is None:
                    y = propagate(shift, last, later if y is None else y, minus=y is None)
                else:
                    y = propagate(shift, last, y - later)  # Σ_k T_k product_k = S b_1 − b_2
        assert y is not None
        return y

    def order(self, shifts: tuple[Shift, ...]) -> int:
        """Return the number of terms of each shift."""
        return (self.terms - self.includes_identity) // len(shifts)


@dataclass(frozen=True)
class GCN(Filter):
    r"""The graph convolution of Kipf & Welling (2017): a weighted mean of neighbours and itself.

    y = Â x Wᵀ,  Â = D̃^-1/2 (A + I)ᵀ D̃^-1/2

    A self-loop is added to nodes without one. D̃ is the in-degree, self-loops included; a message
    goes from source to target. Weights must not be negative.

    Shapes
    ------
    x : `[..., N, inputs]`; y : `[..., N, outputs]`; weight : `[outputs, inputs]`

    Raises
    ------
    InputError
        For a negative edge weight.
    ValueError
        If x does not fit the graph.

    Example
    -------
    >>> import torch
    >>> from plait import GCN, Graph, GraphConv
    >>> graph = Graph.from_edges([(0, 1), (1, 2)]).to_undirected()
    >>> GraphConv(GCN(), 4, 8)(torch.randn(3, 4), graph).shape
    torch.Size([3, 8])
    """

    reach = 1
    includes_identity = False  # only through the self-loops of Â

    @property
    def terms(self) -> int:
        """One, Â."""
        return 1

    def shifts(self, graph: Graph, dtype: torch.dtype) -> tuple[Shift, ...]:
        """Return Â."""
        return (shifts.gcn(graph, dtype),)


@dataclass(frozen=True)
class Chebyshev(Filter):
    r"""The spectral filter of Defferrard et al. (2016), equation 4, as in GCRN.

    y = Σ_{j<k} T_j(L~) x W_jᵀ,  L~ = 2 L / λmax − I,  L = I − D^-1/2 A D^-1/2

    A node aggregates nodes up to k − 1 edges away. Self-loops are dropped. The graph must be
    undirected, without negative weights.

    Parameters
    ----------
    k : int
        Terms, at least 1.
    lambda_max : float or "exact"
        λmax; 2 is its upper bound, "exact" computes it, for each graph of a disjoint union.

    Shapes
    ------
    x : `[..., N, inputs]`; y : `[..., N, outputs]`; weight : `[outputs, k, inputs]`

    Raises
    ------
    InputError
        For a directed graph or a negative edge weight.
    ValueError
        For k or lambda_max out of range, or if x does not fit the graph.

    Example
    -------
    >>> from plait import Chebyshev
    >>> Chebyshev(3).weight_shapes(16, 256)
    {'weight': (256, 3, 16)}
    """

    k: int
    lambda_max: float | Literal["exact"] = 2

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"Chebyshev needs at least 1 term, not {self.k}")
        if self.lambda_max != "exact" and not (
            isinstance(self.lambda_max, (int, float)) and self.lambda_max > 0
        ):
            raise ValueError(f"lambda_max must be positive or 'exact', not {self.lambda_max!r}")

    @property
    def terms(self) -> int:
        """K."""
        return self.k

    def check(self, x: Tensor, graph: Any) -> None:
        """Refuse directed graphs, and what `Filter` refuses."""
        super().check(x, graph)
        if graph.asymmetric_edge is not None:
            s, t = graph.asymmetric_edge
            raise InputError(
                f"Chebyshev needs an undirected graph, and edge {s} → {t} has no reverse of the "
                "same weight: graph.to_undirected()"
            )

    @property
    def reach(self) -> int:
        """Hops from which a node's output comes."""
        return self.k - 1

    def shifts(self, graph: Graph, dtype: torch.dtype) -> tuple[Shift, ...]:
        """Return L~."""
        return (shifts.chebyshev(graph, self.lambda_max, dtype),)


@dataclass(frozen=True)
class Diffusion(Filter):
    r"""Diffusion convolution: random walks along the edges and back (DCRNN, Li et al. 2018).

    y = x W_0ᵀ + Σ_{j=1..k} T_j(S1) x W_jᵀ + Σ_{j=1..k} T_j(S2) x W_{k+j}ᵀ

    S1 = (D_out^-1 A)ᵀ,  S2 = (D_in^-1 Aᵀ)ᵀ, where rows of degree zero are zero. T_j is Chebyshev's
    recursion, as in the authors' code (there the second walk starts from the first's second-last
    term; here both start from x); equation 2 has powers of S. Weights must not be negative.

    Parameters
    ----------
    k : int
        Terms for each direction, at least 1: 2k + 1 in all.

    Shapes
    ------
    x : `[..., N, inputs]`; y : `[..., N, outputs]`; weight : `[outputs, 2k + 1, inputs]`

    Raises
    ------
    InputError
        For a negative edge weight.
    ValueError
        For k below 1, or if x does not fit the graph.

    Example
    -------
    >>> from plait import Diffusion
    >>> Diffusion(2).weight_shapes(2, 64)
    {'weight': (64, 5, 2)}
    """

    k: int
    shift_count = 2

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"Diffusion needs at least 1 term for each direction, not {self.k}")

    @property
    def terms(self) -> int:
        """2k + 1."""
        return 2 * self.k + 1

    def shifts(self, graph: Graph, dtype: torch.dtype) -> tuple[Shift, ...]:
        """Return S1 and S2."""
        return shifts.walks(graph, dtype)
