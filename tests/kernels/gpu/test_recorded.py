"""Recorded passes: what is kept, for how long and in how much memory, by a stand-in for a GPU."""

import copy
import pickle
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from plait import (
    GINE,
    GRU,
    LSTM,
    RNN,
    Adaptive,
    Attention,
    Chebyshev,
    Dense,
    Graph,
    PerNode,
    Recurrent,
    SAGEMax,
)  # fmt: skip
from plait.kernels import attention
from plait.kernels.gpu import attention as gpu_attention
from plait.kernels.gpu import graphs, products, recorded
from plait.kernels.gpu import sparse as gpu_sparse
from plait.kernels.gpu.persistent import TritonLoops
from plait.kernels.gpu.recorded import AT_ONCE, KNOWN, WARM, Entry, Recordings
from plait.kernels.gpu.steps import TritonSteps
from plait.kernels.reference import Reference

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

CPU = torch.device("cpu")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Doubling:
    """A pass y = 2 x of its first tensor, that keeps x; its gradient is 2 x dy."""

    not_recorded = None

    def __init__(self, key="doubling", differentiate=True, bytes_=100):
        self.key, self.differentiate, self.extra, self.bytes = key, differentiate, (), bytes_

    def size(self):
        return self.bytes

    def forward(self, tensors, extra):
        return (tensors[0].square(),), tensors[0].clone()

    def backward(self, tensors, extra, saved, grads):
        return (2 * saved * grads[0],)


class Recorder:
    """Does recorded work again at each replay, over what it made the last time, as a GPU does."""

    made = 0
    unread: tuple[torch.Tensor, ...] = ()  # what is not given to a replay

    def __init__(self, device, size=100, free=10**9):
        Recorder.made += 1
        self.size, self.free = size, free
        self.warmed = self.followed = self.finished = 0

    def warm_up(self, work):
        self.warmed += 1
        work()

    def record(self, work):
        last = []

        def replay():
            for outputs in last:
                for y in outputs:
                    y.fill_(torch.nan) if y.is_floating_point() else y.zero_()
            last.clear()
            kept = [t.detach().clone() for t in self.unread]
            for t in self.unread:
                t.data.fill_(torch.nan)
            with torch.inference_mode(False), torch.no_grad():  # as it was recorded
                result = work()
            for t, value in zip(self.unread, kept, strict=True):
                t.data.copy_(value)
            last.append([t for t in result[0] if isinstance(t, torch.Tensor)]
                        if isinstance(result[0], tuple) else result)  # fmt: skip
            return result

        return replay

    def follow(self):
        self.followed += 1

    def finish(self):
        self.finished += 1

    def free_memory(self):
        return self.free


def recordings(room=10**9, **options):
    return Recordings(lambda device: Recorder(device, **options), lambda device: room)


def leased(known, one, x):
    """Lease as the first call after those that run as they are."""
    for _ in range(WARM):
        assert known.lease(one, [x], []) is None
    return known.lease(one, [x], [])


def test_the_third_call_of_a_shape_is_recorded_and_replayed():
    known, one, x = recordings(), Doubling(), torch.tensor([1.0, 2.0])
    lease = leased(known, one, x)
    assert torch.equal(lease.entry.forward([x], [])[0], torch.tensor([1.0, 4.0]))
    assert torch.equal(lease.entry.backward([torch.ones(2)])[0], torch.tensor([2.0, 4.0]))
    entry = lease.entry
    assert entry.recorder.warmed == 1
    assert entry.recorder.followed == 2
    del lease
    assert known.lease(one, [3 * x], []).entry is entry


@pytest.mark.parametrize(
    ("other", "x"),
    [
        (Doubling("another"), torch.ones(2)),
        (Doubling(differentiate=False), torch.ones(2)),
        (Doubling(), torch.ones(3)),
        (Doubling(), torch.ones(2, dtype=torch.bfloat16)),
    ],
    ids=["work", "gradient", "shape", "type"],
)
def test_another_work_gradient_shape_or_type_is_another_recording(other, x):
    known = recordings()
    assert leased(known, Doubling(), torch.ones(2)) is not None
    assert known.lease(other, [x], []) is None


def test_torchs_switches_for_products_are_part_of_the_shape():
    known, x = recordings(), torch.ones(2)
    assert leased(known, Doubling(), x) is not None
    torch.set_float32_matmul_precision("high")
    try:
        assert known.lease(Doubling(), [x], []) is None
    finally:
        torch.set_float32_matmul_precision("highest")


def test_what_waits_for_its_gradient_is_not_written_over():
    known, one = recordings(), Doubling()
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    first = leased(known, one, a)
    y = first.entry.forward([a], [])[0]
    second = known.lease(one, [b], [])
    assert second.entry is not first.entry
    second.entry.forward([b], [])
    assert torch.equal(first.entry.backward([torch.ones(2)])[0], 2 * a)
    first.entry.forward([b], [])
    assert torch.equal(y, a.square())  # what was returned is a copy


def test_what_inference_mode_recorded_is_used_outside_it():
    known, one, x = recordings(), Doubling(differentiate=False), torch.tensor([1.0, 2.0])
    with torch.inference_mode():
        lease = leased(known, one, x.clone())
        lease.entry.forward([x.clone()], [])
        del lease
    lease = known.lease(one, [x], [])
    assert torch.equal(lease.entry.forward([x], [])[0], x.square())
    with torch.inference_mode():
        assert torch.equal(lease.entry.forward([2 * x], [])[0], 4 * x.square())


def test_only_so_many_of_one_shape_wait_at_once():
    known, one, x = recordings(), Doubling(), torch.ones(2)
    held = [leased(known, one, x), *(known.lease(one, [x], []) for _ in range(AT_ONCE - 1))]
    assert all(held)
    assert known.lease(one, [x], []) is None
    held.pop()
    assert known.lease(one, [x], []) is not None


def test_recordings_stay_within_their_room_and_the_last_used_stay():
    x = torch.ones(2)
    each = 100 + 3 * x.nbytes  # the recorder's, and what is read: x and the gradient
    known = recordings(room=3 * each)
    for name in "abc":
        leased(known, Doubling(name), x)
    assert known.lease(Doubling("a"), [x], []) is not None
    oldest = known.entries[0]
    assert leased(known, Doubling("d"), x) is not None
    assert [e.key[0] for e in known.entries] == ["c", "a", "d"]
    assert oldest.recorder.finished == 1
    assert known.used(CPU) <= 3 * each


def test_what_is_in_use_is_not_dropped_for_another():
    x = torch.ones(2)
    known = recordings(room=150)
    held = leased(known, Doubling("a"), x)
    assert leased(known, Doubling("b"), x) is None
    del held
    assert known.lease(Doubling("b"), [x], []) is not None


def test_a_pass_that_does_not_fit_runs_as_it_is():
    x = torch.ones(2)
    assert leased(recordings(room=99), Doubling(), x) is None
    assert leased(recordings(free=199), Doubling(), x) is None
    larger = recordings(room=150, size=400)  # than was expected
    assert leased(larger, Doubling(), x) is None
    assert larger.entries == []


def test_shapes_are_counted_up_to_a_bound():
    known = recordings()
    for k in range(KNOWN + 5):
        known.lease(Doubling(k), [torch.ones(1)], [])
    assert len(known.calls) == KNOWN


def test_a_copy_and_a_pickle_hold_no_recordings():
    known = Recordings()
    known.calls["a"] = 3
    known.entries.append(SimpleNamespace())
    for other in (copy.deepcopy(known), pickle.loads(pickle.dumps(known))):
        assert not other.calls
        assert not other.entries
    assert isinstance(pickle.loads(pickle.dumps(TritonSteps())), TritonSteps)


def test_nothing_is_recorded_within_a_recording_or_where_it_is_switched_off(monkeypatch):
    one = Doubling()
    assert recordings().of(one) is not one
    monkeypatch.setenv("PLAIT_CUDA_GRAPHS", "0")
    assert recordings().of(one) is one
    monkeypatch.delenv("PLAIT_CUDA_GRAPHS")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert graphs.refusal() == "the call is being recorded already"
    assert recordings().of(one) is one


def test_a_recording_that_fails_says_how_to_go_on_without(monkeypatch):
    """Here every recording fails: there is no GPU, or the work waits for it."""
    recorder = graphs.CudaRecorder.__new__(graphs.CudaRecorder)
    recorder.device, recorder.pool = CPU, None
    monkeypatch.setattr(torch.cuda, "CUDAGraph", SimpleNamespace)
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(torch.cuda, "graph", lambda *args, **options: nullcontext())
    monkeypatch.setattr(graphs, "_stream", lambda device: None)

    def work():
        raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match=r"not permitted .* set PLAIT_CUDA_GRAPHS=0 in the env"):
        recorder.record(work)


class Steps(nn.Module):
    """A model whose layers run in Triton's steps, recorded by the stand-in."""

    def __init__(self, layer, room=10**9):
        super().__init__()
        self.known = recordings(room)
        self.layer = layer.to(DEVICE)
        layer.kernels = [TritonSteps(DEVICE, self.known)]

    def forward(self, x, **options):
        return self.layer(x, **options)[0]


NET = Graph.from_edges([(0, 1), (1, 2), (2, 0), (3, 1)]).to_undirected()


def replayed(cell, operator, graph, layers=2):
    """Yield outputs and weights' gradients of a model that is replayed at last, and of plain torch.

    Two layers of one shape in one call, with lengths; weights change between the calls.
    """
    layer = Recurrent(cell, 3, 3, operator=operator, layers=layers)
    plain = copy.deepcopy(layer).to(DEVICE)
    plain.kernels = [Reference()]
    model, graph = Steps(layer), graph and graph.to(DEVICE)
    for _ in range(WARM + 2):
        x = torch.randn(2, 2, *([4] if graph else []), 3, device=DEVICE)
        lengths = torch.tensor([2, 1])
        found, right = (
            (y := run(x, graph=graph, lengths=lengths), torch.autograd.grad(
                y.square().sum(), list(one.parameters()))
            ) for run, one in ((model, layer), (lambda x, **o: plain(x, **o)[0], plain))
        )  # fmt: skip
        yield (found[0], *found[1]), (right[0], *right[1])
        with torch.no_grad():
            for p in (*layer.parameters(), *plain.parameters()):
                p.add_(p.roll(1, 0), alpha=0.5)
    assert len(model.known.entries) == layers
    assert not any(e.taken for e in model.known.entries)


@pytest.mark.parametrize(
    ("cell", "operator", "graph"),
    [(GRU("before"), Dense(), None), (LSTM(True), Chebyshev(2), NET)], ids=["dense", "graph"],
)  # fmt: skip
def test_replayed_layers_give_what_plain_torch_does(cell, operator, graph, assert_near):
    pytest.importorskip("triton")
    for found, right in replayed(cell, operator, graph):
        assert_near(found, right, 1e-5)


@pytest.mark.parametrize(
    ("cell", "version"), [(GRU("before"), 1), (RNN(), 2)], ids=["version 1", "version 2"]
)
def test_replayed_attention_gives_what_plain_torch_does(cell, version, assert_near):
    """The gradient of scores is small where neighbours are alike: all of a call are one tensor."""
    pytest.importorskip("triton")
    for found, right in replayed(cell, Attention(3, version=version), NET, layers=1):
        for tensors in (slice(0, 1), slice(1, None)):
            ours, theirs = (torch.cat([t.flatten() for t in r[tensors]]) for r in (found, right))
            assert_near(ours, theirs, 1e-5)


SHARED = Adaptive(4, 1, 2)


@pytest.mark.parametrize(
    "operator", [Adaptive(4, 1, 2, largest=2), PerNode(SHARED, 4, 2, SHARED.targets)], ids=repr
)  # fmt: skip
def test_what_an_operator_learns_is_given_to_its_recording(operator, monkeypatch, assert_near):
    """Its weights change between the calls, and have their gradients."""
    pytest.importorskip("triton")
    monkeypatch.setattr(Recorder, "unread", tuple(operator.parameters()))
    for found, right in replayed(RNN(), operator, NET, layers=1):
        assert_near(found, right, 1e-5)


@pytest.mark.parametrize("version", [1, 2])
def test_dropout_is_drawn_outside_of_a_recording(version):
    """Other numbers at each call, and the same as without one: a resumed run is launched first."""
    pytest.importorskip("triton")
    layer = Recurrent(RNN(), 1, 2, operator=Attention(1, version, dropout=0.5))
    recorded, launched = Steps(layer), Steps(copy.deepcopy(layer), room=0)
    x, net, seen = torch.randn(1, 1, 8, 1, device=DEVICE), RING.to(DEVICE), []
    start = torch.randn(1, 1, 8, 2, device=DEVICE)
    for k in range(WARM + 2):
        results = []
        for model in (recorded, launched):
            torch.manual_seed(k)
            y, _ = model.layer(x, start, graph=net)
            results.append((y, *torch.autograd.grad(y.square().sum(), list(model.parameters()))))
        assert all(map(torch.equal, *results))
        seen.append(results[0][0])
    assert len(recorded.known.entries) == 1
    assert not launched.known.entries
    assert not torch.equal(seen[-1], seen[-2])


def test_a_kept_graph_keeps_its_recording(monkeypatch):
    pytest.importorskip("triton")
    model = Steps(Recurrent(RNN(), 2, 2))
    x = torch.randn(1, 1, 2, device=DEVICE, requires_grad=True)
    for _ in range(WARM):
        model(x)
    loss = model(x).sum()
    (first,) = torch.autograd.grad(loss, x, retain_graph=True)
    assert model.known.entries[0].taken
    (second,) = torch.autograd.grad(loss, x)
    assert torch.equal(first, second)
    assert not model.known.entries[0].taken
    with torch.no_grad():
        assert torch.allclose(model(x), model.layer(x)[0])


class Ring:
    """Each node aggregates itself and the node before it; it does not say what may be recorded."""

    def weight_shapes(self, inputs, outputs):
        return {"weight": (outputs, inputs)}

    def apply(self, x, weights, graph):
        return nn.functional.linear(x + x.roll(1, dims=-2), weights["weight"])

    def __repr__(self):
        return "Ring()"


def test_explain_says_what_is_recorded():
    pytest.importorskip("triton")
    once = "one CUDA graph from call 3 of a shape on, within 1/8 of the memory"
    for operator, text in (
        (Dense(), once), (Chebyshev(2), once), (Attention(1, version=2), once),
        (Attention(1, dropout=0.5), once), (Attention(1, edge_size=2), once), (GINE(), once),
        (Adaptive(4, given=Chebyshev(2)), once), (Adaptive(4, given=Attention(1)), once),
        (Ring(), "no CUDA graph: Ring() does not say that it may be recorded (`not_recorded`)"),
        (PerNode(GINE(), 4, 2), once),
        (Adaptive(4, given=Ring()), "no CUDA graph: Ring() does not say that it may be recorded"),
    ):  # fmt: skip
        layer = Recurrent(GRU("before"), 2, 3, operator=operator).to(DEVICE)
        layer.kernels = [TritonSteps(DEVICE)]
        assert text in layer.kernel()
    assert Attention(1).not_recorded(4096) is None
    assert "do not fit its kernel" in Attention(1).not_recorded(4097)


def run_often(model, **options):
    """Call a model until it would be replayed, and return how many recordings there are."""
    for _ in range(WARM + 1):
        model(torch.randn(1, 1, 8, 1, device=DEVICE), **options)
    return len(model.known.entries)


@pytest.mark.parametrize("operator", [Chebyshev(2), Attention(1)], ids=repr)
def test_graphs_that_come_once_are_not_recorded(operator):
    """Also where a graph lies at the address of one that is gone."""
    pytest.importorskip("triton")
    model = Steps(Recurrent(RNN(), 1, 2, operator=operator))
    for _ in range(4 * WARM):
        run = Graph(RING.edge_index.clone()).to(DEVICE)
        model(torch.randn(1, 1, 8, 1, device=DEVICE), graph=run)
        del run
    assert not model.known.entries


RING = Graph.from_edges([(k, (k + 1) % 8) for k in range(8)]).to_undirected()


def test_sparse_shifts_are_recorded(monkeypatch, assert_near):
    pytest.importorskip("triton")
    monkeypatch.setattr(products, "SMALL", 0)
    monkeypatch.setattr(products, "DENSE", 2.0)
    model, net = Steps(Recurrent(RNN(), 1, 2, operator=Chebyshev(3))), RING.to(DEVICE)
    assert run_often(model, graph=net) == 1
    x = torch.randn(1, 1, 8, 1, device=DEVICE)
    found = model(x, graph=net)
    model.layer.kernels = [Reference()]
    assert_near(found, model(x, graph=net), 1e-6)


@pytest.mark.parametrize("operator", [Chebyshev(2), Attention(1)], ids=repr)
def test_another_graph_is_another_recording(operator):
    """Also one of the same shape: a recording reads its own graph."""
    pytest.importorskip("triton")
    model = Steps(Recurrent(RNN(), 1, 2, operator=operator))
    first, second = RING.to(DEVICE), Graph(RING.edge_index, num_nodes=8).to(DEVICE)
    assert run_often(model, graph=first) == 1
    assert run_often(model, graph=second) == 2


@pytest.mark.parametrize(
    ("operator", "graphs"),
    [(Ring(), 0), (Chebyshev(2), 1), (Attention(1, dropout=0.5), 1)], ids=repr,
)  # fmt: skip
def test_what_cannot_be_recorded_is_launched(operator, graphs):
    """Operators that do not say so, and a graph for every step."""
    pytest.importorskip("triton")
    model = Steps(Recurrent(RNN(), 1, 2, operator=operator))
    net = RING.to(DEVICE)
    assert run_often(model, graph=[net] if graphs else net) == 0
    assert not model.known.calls


def test_operations_that_cannot_be_recorded_are_found():
    for work in (
        lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: torch.repeat_interleave(x.long()),
        nn.functional.dropout, lambda x: x.to("meta"),
    ):  # fmt: skip
        with graphs.Watch() as watch:
            work(torch.ones(3))
        assert watch.found
    with graphs.Watch() as watch:
        torch.ones(3)[torch.tensor([0, 2])] = 1.0 + torch.ones(3)[torch.tensor([1, 1])]
    assert watch.found == []


@pytest.mark.parametrize(
    ("operator", "sparse"),
    [
        (Dense(), False), (Chebyshev(2), False), (Chebyshev(3), True),
        (Attention(1), False), (Attention(3, version=2), False),
    ], ids=str,
)  # fmt: skip
def test_what_is_recorded_waits_for_nothing_and_draws_nothing(operator, sparse, monkeypatch):
    """Forward and backward, with the kernels of a GPU in the interpreter, a hub in segments."""
    pytest.importorskip("triton")
    if DEVICE == "cuda":
        pytest.skip("there it is recorded")
    if sparse:
        monkeypatch.setattr(products, "SMALL", 0)
        monkeypatch.setattr(products, "DENSE", 2.0)
    for module in (gpu_attention, gpu_sparse):
        monkeypatch.setattr(module, "SEGMENT", 2)
    monkeypatch.setattr(gpu_attention, "can_run", lambda *given: True)
    monkeypatch.setattr(attention, "has_loops", lambda like: False)
    watched = []

    class Watching(Recorder):
        def record(self, work):
            def seen():
                with graphs.Watch() as watch:
                    result = work()
                watched.append(watch.found)
                return result

            return super().record(seen)

    layer = Recurrent(RNN(), 2, 3, operator=operator, recurrent_dropout=0.5)
    known = Recordings(Watching, lambda device: 10**9)
    layer.kernels = [TritonSteps("cpu", known)]
    graph = None if isinstance(operator, Dense) else NET.to("cpu")
    x = torch.randn(1, 1, *([4] if graph else []), 2, requires_grad=True)
    for _ in range(WARM + 1):
        y, _ = layer(x, graph=graph, lengths=torch.tensor([1]))
        torch.autograd.grad(y.sum(), x)
    assert len(watched) >= 2
    assert not any(watched)


class Fetching(Ring):
    """Breaks its promise: it looks at a number."""

    def not_recorded(self, outputs):
        return None

    def apply(self, x, weights, graph):
        return super().apply(x * (1.0 if x.sum().item() > 1e9 else 2.0), weights, graph)


def test_a_promise_that_is_broken_is_found_before_anything_is_recorded(assert_near):
    pytest.importorskip("triton")
    model = Steps(Recurrent(RNN(), 1, 2, operator=Fetching()))
    assert run_often(model) == run_often(model) == 0
    assert len(model.known.calls) == 1
    x = torch.randn(1, 1, 8, 1, device=DEVICE)
    found = model(x)
    model.layer.kernels = [Reference()]
    assert_near(found, model(x), 1e-6)


@cuda
@pytest.mark.parametrize("nodes", [0, 30, 2000])
@pytest.mark.parametrize(
    "operator",
    [
        Dense(), Chebyshev(3), Attention(4), Attention(4, version=2), Attention(4, edge_size=2),
        GINE(2), SAGEMax(), Adaptive(30, largest=4),
    ], ids=repr,
)  # fmt: skip
def test_on_a_gpu_a_replay_is_what_was_launched_bit_by_bit(operator, nodes):
    """Without a graph, on one whose shifts are dense and on one whose shifts are sparse."""
    pytest.importorskip("triton")
    if isinstance(operator, Dense) != (nodes == 0):
        pytest.skip("only Dense wants no graph")
    if isinstance(operator, Adaptive) and nodes != operator.nodes:
        pytest.skip("its nodes are fixed")
    layer = Recurrent(GRU("before"), 4, 16, layers=2, operator=operator).cuda()
    layer.kernels = [TritonLoops(), TritonSteps(), Reference()]
    graph = None
    if nodes:
        graph = Graph(torch.randint(nodes, (2, 4 * nodes)).unique(dim=1), num_nodes=nodes)
        graph = graph.to_undirected()
        features = torch.randn(graph.num_edges, 2)
        graph = Graph(graph.edge_index, num_nodes=nodes, edge_features=features).to("cuda")
    found = []
    x = torch.randn(5, 3, *[nodes] * bool(nodes), 4, device="cuda", requires_grad=True)
    lengths = torch.tensor([5, 0, 3])
    for _ in range(WARM + 2):
        y, _ = layer(x, graph=graph, lengths=lengths)
        grads = torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])
        found.append((y, *grads))
    assert sum(len(k.recordings.entries) for k in layer.kernels[:2]) == 2  # one a layer
    for k in range(1, len(found)):
        assert all(map(torch.equal, found[k], found[0]))


@cuda
def test_on_a_gpu_a_recording_knows_its_size():
    recorder = recorded.make_recorder(torch.device("cuda", torch.cuda.current_device()))
    one = Doubling()
    entry = Entry("key", one, [torch.ones(1000, device="cuda")], [], recorder)
    assert entry.size >= 2 * 4000
    x = torch.full((1000,), 3.0, device="cuda")
    assert torch.equal(entry.forward([x], [])[0], x.square())
    assert torch.equal(entry.backward([x])[0], 2 * x * x)
