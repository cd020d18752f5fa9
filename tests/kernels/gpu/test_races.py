"""Programs of a kernel run in any order: what each of them reads and writes, in the interpreter.

Between two programs of a launch nothing is exchanged but by atomic operations, so it is a race if
two write the same number, or if one reads what another writes. Within a program, whose threads go
their own ways, it is one if a number is read that was written since the last barrier. What threads
do in shared memory is the compiler's; `make test-gpu` lets compute-sanitizer look at it.
"""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from plait import GRU, LSTM, Chebyshev, Graph, LayerNormLSTM, Recurrent
from plait.kernels.attention import neighbourhood
from plait.kernels.gpu import attention, products, sparse
from plait.kernels.gpu.persistent import TritonLoops
from plait.kernels.gpu.steps import TritonSteps

if torch.cuda.is_available():
    pytest.skip("a GPU is here: its kernels are compiled", allow_module_level=True)
triton = pytest.importorskip("triton")
tl = pytest.importorskip("triton.language")
interpreter = pytest.importorskip("triton.runtime.interpreter")

BUILDER = interpreter.interpreter_builder


class Launches:
    """What the programs of each launch read and write, and in which order they run.

    Parameters
    ----------
    order : callable
        From a number of programs to the order in which they run.
    """

    def __init__(self, order):
        self.order = order
        self.kernels = {}  # by name, the most programs that it was launched with
        self.found = []  # races
        self.program = 0

    def begin(self, executor):
        grid = BUILDER.grid_dim
        self.name, count = executor.fn.__name__, int(np.prod(grid))
        self.kernels[self.name] = max(count, self.kernels.get(self.name, 0))
        self.places = [np.unravel_index(k, grid) for k in self.order(count)]
        self.reads, self.writes = [], []

    def run(self, program):
        self.program, self.written = program, []

    def read(self, places):
        if self.written and np.isin(places, np.concatenate(self.written)).any():
            self.found.append(f"{self.name}: reads what it wrote, without a barrier between")
        self.reads.append((np.unique(places), self.program))

    def write(self, places):
        self.written.append(places)
        self.writes.append((np.unique(places), self.program))

    def end(self):
        places, programs = table(self.writes)
        if (np.diff(places) == 0).any():  # each program's are there once
            self.found.append(f"{self.name}: two programs write one number")
        read, readers = table(self.reads)
        at = np.searchsorted(places, read).clip(max=max(0, len(places) - 1))
        if len(places) and ((places[at] == read) & (programs[at] != readers)).any():
            self.found.append(f"{self.name}: a program reads what another one writes")


def table(accesses):
    """Return places in order, each with a program that was there; no pair twice."""
    if not accesses:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    places = np.concatenate([p for p, _ in accesses])
    programs = np.concatenate([np.full(len(p), k) for p, k in accesses])
    order = np.lexsort([programs, places])
    places, programs = places[order], programs[order]
    new = np.ones(len(places), bool)
    new[1:] = (np.diff(places) != 0) | (np.diff(programs) != 0)
    return places[new], programs[new]


@contextmanager
def watched(order=range):
    """Watch all launches; memory that nothing was written to is not a number."""
    launches, patch = Launches(order), pytest.MonkeyPatch()
    load, store, barrier = (
        BUILDER.create_masked_load, BUILDER.create_masked_store, BUILDER.create_barrier,
    )  # fmt: skip
    place, dimensions = BUILDER.set_grid_idx, BUILDER.set_grid_dim
    call = interpreter.GridExecutor.__call__
    executors = []

    def launch(self, *args, **options):
        executors.append(self)
        call(self, *args, **options)
        launches.end()

    def set_grid_dim(*grid):
        dimensions(*grid)
        launches.begin(executors[-1])

    def set_grid_idx(*index):
        program = int(np.ravel_multi_index(index, BUILDER.grid_dim))
        launches.run(program)
        place(*map(int, launches.places[program]))

    def loaded(pointers, mask, *rest):
        launches.read(pointers.data[mask.data].ravel())
        return load(pointers, mask, *rest)

    def stored(pointers, value, mask, *rest):
        launches.write(pointers.data[mask.data].ravel())
        return store(pointers, value, mask, *rest)

    def waited(*args):
        launches.written.clear()
        return barrier(*args)

    patch.setattr(interpreter.GridExecutor, "__call__", launch)
    for name, function in (
        ("set_grid_dim", set_grid_dim), ("set_grid_idx", set_grid_idx),
        ("create_masked_load", loaded), ("create_masked_store", stored),
        ("create_barrier", waited),
    ):  # fmt: skip
        patch.setattr(BUILDER, name, function)
    torch.use_deterministic_algorithms(True)
    try:
        yield launches
    finally:
        torch.use_deterministic_algorithms(False)
        patch.undo()


@triton.jit
def racing(x, KIND: tl.constexpr):
    """Race, each kind in a way of its own; kind 0 does not."""
    me = tl.program_id(0)
    if KIND == 1:
        tl.store(x, 1.0)
    if KIND == 2:
        tl.store(x + me, tl.load(x + 1 - me))
    if KIND == 3:
        tl.store(x + me, 1.0)
        tl.store(x + 2 + me, tl.load(x + me))
    if KIND == 0:
        tl.store(x + me, 1.0)
        tl.debug_barrier()
        tl.store(x + 2 + me, tl.load(x + me))
        tl.atomic_add(x + 4, 1.0)


@pytest.mark.parametrize(
    ("kind", "said"),
    [(1, "two programs write"), (2, "reads what another"), (3, "without a barrier"), (0, None)],
)
def test_races_are_found(kind, said):
    with watched() as launches:
        racing[(2,)](torch.zeros(5), KIND=kind)
    assert launches.kernels == {"racing": 2}
    assert [said in race for race in launches.found] if said else not launches.found
    assert bool(launches.found) == (said is not None)


RING = Graph.from_edges([(k, (k + 1) % 5) for k in range(5)]).to_undirected()


def in_any_order(compute, kernels):
    """Assert that these kernels run, with several programs, without races and in any order."""
    results = []
    for order in (range, lambda count: range(count)[::-1]):
        with watched(order) as launches:
            results.append(compute())
        assert launches.found == []
        assert {name for name, programs in launches.kernels.items() if programs > 1} == kernels
    assert all(map(torch.equal, *results))


def trained(layer, kernel, x, **options):
    layer.kernels = [kernel]
    tensors = [x.requires_grad_(), *layer.parameters()]

    def compute():
        y, _ = layer(x, **options)
        return y.detach(), *torch.autograd.grad(y.square().sum(), tensors)

    return compute


@pytest.mark.parametrize(
    ("cell", "stages", "cut"),
    [(GRU("before"), 2, True), (LSTM(True), 1, False), (LayerNormLSTM(), 1, False)],
    ids=["sparse, cut rows", "dense", "whole rows"],
)
def test_steps_over_a_graph(cell, stages, cut, monkeypatch):
    kernels = {f"gates_{k + 1}" for k in range(stages)}
    kernels |= {f"backward_{k}_terms" for k in range(stages)}
    if cut:
        monkeypatch.setattr(products, "SMALL", 0)
        monkeypatch.setattr(products, "DENSE", 2.0)
        monkeypatch.setattr(sparse, "SEGMENT", 1)
        kernels.add("multiply")
    layer = Recurrent(cell, 2, 3, operator=Chebyshev(2))
    x, lengths = torch.randn(1, 14, 5, 2), torch.tensor([1] * 13 + [0])
    graph = RING.to("cpu")  # another one, without what this one has stored
    in_any_order(trained(layer, TritonSteps("cpu"), x, graph=graph, lengths=lengths), kernels)


@pytest.mark.parametrize(
    ("cell", "H", "B", "kernels"),
    [
        (GRU("before"), 5, 70, {"forward_1", "forward_2", "backward_0", "backward_1"}),
        (LSTM(True), 130, 5, {"forward_1", "backward_0"}),
    ],
    ids=["rows", "channels"],
)
def test_steps_without_a_graph(cell, H, B, kernels):
    """More rows or channels than a tile has."""
    x, lengths = torch.randn(1, B, 2), torch.arange(B) % 2
    layer = Recurrent(cell, 2, H)
    in_any_order(trained(layer, TritonSteps("cpu"), x, lengths=lengths), kernels)


@pytest.mark.parametrize(
    ("cell", "H", "B"), [(LSTM(True), 5, 17), (GRU("before"), 18, 9)], ids=["whole", "slices"]
)
def test_all_steps_in_one_kernel(cell, H, B):
    """Of slices that wait for one another, each launch here goes from one barrier to the next."""
    layer, lengths = Recurrent(cell, 2, H), torch.arange(B) % 3
    x, kernels = torch.randn(2, B, 2), {"all_forward", "all_backward"}
    in_any_order(trained(layer, TritonLoops("cpu"), x, lengths=lengths), kernels)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("segment", [256, 2], ids=["whole", "cut"])
def test_attention(version, segment, monkeypatch):
    monkeypatch.setattr(attention, "SEGMENT", segment)
    K, D = 2, 3
    hood = neighbourhood(*RING.edge_index, 5)
    values, *sides = torch.randn(3, 2, 5, K, D, 1)
    vector = torch.randn(K, D, 1) if version == 2 else None
    left, right = sides if version == 2 else (s[..., 0, :] for s in sides)
    masks = 2.0 * (torch.rand(2, len(hood.sources), K, 1) < 0.5)

    def compute():
        y, *kept = attention.forward(values, left, right, vector, hood, masks, 0.2)
        inputs = values.cos(), values, left, right, vector
        return y, *(g for g in attention.backward(*inputs, hood, masks, y, *kept, 0.2)
                    if g is not None)  # fmt: skip

    in_any_order(compute, {"gather"})
