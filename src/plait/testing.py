"""Checks for parts of your own: a cell, an operator, a kernel, a task. Each raises AssertionError.

They are what the tests of Plait hold its own parts to, at the same tolerances.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from plait.kernels.kernel import Kernel
from plait.kernels.reference import Reference
from plait.nn.cell import Cell
from plait.nn.forms import as_state, as_tuple
from plait.nn.graph import Graph
from plait.nn.operators import Dense, Operator, basis_of
from plait.nn.recurrent import Recurrent
from plait.tasks.checking import check_task

__all__ = ["check_cell", "check_kernel", "check_operator", "check_task"]

VALUES, GRADIENTS, EXACT = 1e-6, 1e-5, 1e-10
"""Of a tensor's largest entry: what float32 may differ by in values and in gradients, and
float64."""


def check_cell(
    cell: Cell, *, operator: Operator | None = None, graph: Graph | None = None,
    hidden_size: int = 5, seed: int = 0,
) -> None:  # fmt: skip
    """Check a cell of your own: its gradients, its sequences' independence, and its kernels.

    1. In float64 the gradients of outputs and final states by the input, the start states and all
       weights are the numerical ones, of first and of second order.
    2. Sequences of a batch do not see one another, and what lies past a sequence's end does not
       matter.
    3. Every kernel that accepts the layer in float32 gives what plain torch gives in float64.

    Parameters
    ----------
    cell : Cell
    operator : Operator
        What it is run with; None: `Dense()`.
    graph : Graph
        For operators that aggregate neighbours.
    hidden_size, seed : int

    Raises
    ------
    AssertionError
        Naming what differs, by how much, and what was allowed.

    Example
    -------
    >>> from plait import GRU
    >>> from plait.testing import check_cell
    >>> check_cell(GRU("before"))
    """
    layer = _drawn(cell, operator or Dense(), hidden_size, seed).double()
    layer.kernels = [Reference()]
    x, state = _inputs(layer, graph, seed)
    names = [name for name, _ in layer.named_parameters()]

    def outputs(*tensors: Tensor) -> tuple[Tensor, ...]:
        given, start, weights = _split(layer, names, tensors)
        call = (given, as_state(start))
        y, final = torch.func.functional_call(layer, weights, call, {"graph": graph})
        return (y, *as_tuple(final))

    tensors = [t.requires_grad_() for t in (x, *state)]
    tensors += [p.detach().clone().requires_grad_() for p in layer.parameters()]
    torch.autograd.gradcheck(outputs, tensors)
    torch.autograd.gradgradcheck(outputs, tensors)
    _check_independence(layer, x.detach(), tuple(s.detach() for s in state), graph)
    for kernel in Recurrent.kernels:
        check_kernel(
            kernel, cell, operator=operator, graph=graph, hidden_size=hidden_size, seed=seed
        )


def check_operator(operator: Operator, graph: Graph, *, seed: int = 0) -> None:
    """Check an operator of your own: its gradients, stacking, order of nodes, and its basis.

    1. In float64 the gradients by features and weights are the numerical ones.
    2. The weights of two gates, stacked along the first axis, give both outputs concatenated.
    3. Permuting the nodes permutes the outputs, and changes nothing else.
    4. If it has a `basis`, that gives what `apply` gives.

    Parameters
    ----------
    operator : Operator
    graph : Graph
    seed : int

    Raises
    ------
    AssertionError

    Example
    -------
    >>> from plait import Chebyshev, Graph
    >>> from plait.testing import check_operator
    >>> check_operator(Chebyshev(3), Graph.from_edges([(0, 1), (1, 2)]).to_undirected())
    """
    generator = torch.Generator().manual_seed(seed)
    graph = graph.to(torch.float64)
    inputs, outputs = 3, 4
    shapes = operator.weight_shapes(inputs, outputs)

    def draw(shape: Sequence[int]) -> Tensor:
        return torch.randn(tuple(shape), generator=generator, dtype=torch.float64)

    x = draw((2, graph.num_nodes, inputs))
    first, second = ({name: draw(shape) for name, shape in shapes.items()} for _ in range(2))
    names = list(shapes)

    def apply(x: Tensor, *weights: Tensor) -> Tensor:
        return operator.apply(x, dict(zip(names, weights, strict=True)), graph)

    given = [x.clone().requires_grad_(), *(w.clone().requires_grad_() for w in first.values())]
    torch.autograd.gradcheck(apply, given)
    both = {name: torch.cat([first[name], second[name]]) for name in names}
    _near(
        operator.apply(x, both, graph),
        torch.cat([operator.apply(x, w, graph) for w in (first, second)], -1),
        EXACT, "two gates stacked, against each alone",
    )  # fmt: skip
    place = torch.randperm(graph.num_nodes, generator=generator)
    renamed = graph.each(
        lambda one: Graph(place[one.edge_index], one.edge_weight, one.num_nodes, one.edge_features)
    )
    moved = torch.empty_like(x)
    moved[:, place] = x
    _near(
        operator.apply(moved, first, renamed)[:, place], operator.apply(x, first, graph), EXACT,
        "nodes in another order",
    )  # fmt: skip
    basis = basis_of(operator)
    if basis is not None:
        _near(_by_basis(basis(graph, x.dtype), x, first["weight"]), operator.apply(x, first, graph),
              EXACT, "its basis, against apply")  # fmt: skip


def check_kernel(
    kernel: Kernel, cell: Cell, *, operator: Operator | None = None, graph: Graph | None = None,
    hidden_size: int = 5, seed: int = 0, device: str = "cpu",
) -> bool:  # fmt: skip
    """Check a kernel on a cell × an operator against plain torch in float64.

    Values and gradients, by the input, the start states and all weights, without lengths and with,
    of one layer and of two in both directions.

    Parameters
    ----------
    kernel : Kernel
    cell : Cell
    operator : Operator
        None: `Dense()`.
    graph : Graph
    hidden_size, seed : int
    device : str
        Where both run.

    Returns
    -------
    bool
        False where the kernel does not accept the layer, and nothing was compared.

    Raises
    ------
    AssertionError

    Example
    -------
    >>> from plait import GCN, GRU, Graph
    >>> from plait.kernels.cpu.kernel import CompiledLoops
    >>> from plait.testing import check_kernel
    >>> ring = Graph.from_edges([(0, 1), (1, 2), (2, 0)]).to_undirected()
    >>> check_kernel(CompiledLoops(), GRU(), operator=GCN(), graph=ring)
    True
    """
    ran = False
    graph = None if graph is None else graph.to(device)
    for options in ({}, {"layers": 2, "bidirectional": True}):
        layer = _drawn(cell, operator or Dense(), hidden_size, seed, **options).to(device)
        layer.kernels = [kernel, Reference()]
        oracle = copy.deepcopy(layer).double()
        oracle.kernels = [Reference()]
        x, state = _inputs(oracle, graph, seed)
        x, state = x.to(device), tuple(s.to(device) for s in state)
        for lengths in (None, torch.tensor([4, 0, 2])):
            if layer.choice(0, x.float(), graph=graph, lengths=lengths).kernel is not kernel:
                continue
            ran = True
            found = _answers(layer, x.float(), tuple(s.float() for s in state), graph, lengths)
            right = _answers(oracle, x, state, graph, lengths)
            for name, value in found.items():
                tolerance = VALUES if name.startswith("output") else GRADIENTS
                what = f"{kernel.name} on {cell!r} × {operator or Dense()!r}: {name}"
                _near(value.double(), right[name], tolerance, what)
    return ran


def _drawn(
    cell: Cell, operator: Operator, hidden_size: int, seed: int, **options: Any
) -> Recurrent:
    """Make a layer whose every weight is drawn, so that rounding does not grow over time."""
    layer = Recurrent(cell, 3, hidden_size, operator=operator, **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in layer.parameters():
            size = max(1, p[0].numel())
            p.copy_(0.5 * torch.randn(p.shape, generator=generator) * size**-0.5)
    return layer


def _inputs(layer: Recurrent, graph: Graph | None, seed: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    nodes = () if graph is None else (graph.num_nodes,)
    generator = torch.Generator().manual_seed(seed + 1)
    x = torch.randn(4, 3, *nodes, 3, generator=generator, dtype=torch.float64)
    shape = (len(layer.directions), 3, *nodes, layer.hidden_size)
    state = tuple(
        torch.randn(shape, generator=generator, dtype=torch.float64) for _ in layer.cell.states
    )
    return x, state


def _split(
    layer: Recurrent, names: Sequence[str], tensors: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...], dict[str, Tensor]]:
    count = 1 + len(tuple(layer.cell.states))
    weights = dict(zip(names, tensors[count:], strict=True))
    return tensors[0], tuple(tensors[1:count]), weights


def _answers(
    layer: Recurrent, x: Tensor, state: tuple[Tensor, ...], graph: Graph | None,
    lengths: Tensor | None,
) -> dict[str, Tensor]:  # fmt: skip
    """Return outputs, final states, and the gradients of a fixed weighting of all of them."""
    given = {"x": x.clone().requires_grad_()}
    given |= {f"state {k}": s.clone().requires_grad_() for k, s in enumerate(state)}
    start = tuple(given[f"state {k}"] for k in range(len(state)))
    y, final = layer(given["x"], as_state(start), graph=graph, lengths=lengths)
    outputs = (y, *as_tuple(final))
    generator = torch.Generator().manual_seed(2)
    weighting = [torch.randn(o.shape, generator=generator, dtype=torch.float64) for o in outputs]
    loss = sum((o * w.to(o)).sum() for o, w in zip(outputs, weighting, strict=True))
    assert isinstance(loss, Tensor)
    given |= dict(layer.named_parameters())
    gradients = torch.autograd.grad(loss, list(given.values()), materialize_grads=True)
    found = {f"output {k}": o.detach() for k, o in enumerate(outputs)}
    return found | {f"gradient of {name}": g for name, g in zip(given, gradients, strict=True)}


def _check_independence(
    layer: Recurrent, x: Tensor, state: tuple[Tensor, ...], graph: Graph | None
) -> None:
    lengths = torch.tensor([4, 2, 3])
    whole, _ = layer(x, as_state(state), graph=graph, lengths=lengths)
    for b, length in enumerate(lengths.tolist()):
        start = tuple(s[:, b : b + 1] for s in state)
        alone, _ = layer(x[:length, b : b + 1], as_state(start), graph=graph)
        _near(whole[:length, b : b + 1], alone, EXACT, f"sequence {b} in a batch, against alone")


def _by_basis(basis: Any, x: Tensor, weight: Tensor) -> Tensor:
    """Return Σ_m W_m B_m x with dense matrices."""
    terms = [x] if basis.identity else []
    for shift in basis.shifts if basis.order else ():
        matrix = shift.matrix.to_dense() if shift.matrix.layout != torch.strided else shift.matrix
        before, last = x, matrix @ x
        terms.append(last)
        for _ in range(basis.order - 1):
            before, last = last, 2 * matrix @ last - before
            terms.append(last)
    weight = weight.view(len(weight), len(terms), -1)
    return torch.stack([term @ weight[:, m].T for m, term in enumerate(terms)]).sum(0)


def _near(found: Tensor, right: Tensor, tolerance: float, what: str) -> None:
    if found.shape != right.shape:
        raise AssertionError(f"{what}: shape {list(found.shape)}, not {list(right.shape)}")
    if not right.numel():
        return
    allowed = tolerance * float(right.detach().abs().max())
    off = float((found - right).detach().abs().max())
    if not off <= allowed:
        raise AssertionError(f"{what}: off by {off:.3g}, more than {allowed:.3g}")
