"""All steps in one kernel against plain torch in float64: on a GPU, or in Triton's interpreter."""

import subprocess
import sys

import compared as passes
import pytest
import torch

from plait import GCN, GRU, LSTM, RNN, Cell, Graph, LayerNormLSTM, MinGRU, Recurrent
from plait.kernels.gpu import persistent, precision
from plait.kernels.gpu.persistent import TritonLoops, shape_of
from plait.kernels.reference import Reference
from plait.testing import check_kernel

pytest.importorskip("triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LOOPS = TritonLoops(DEVICE)


class Chain(Cell):
    """Three products, one upon the other, of them one of a state that is no output."""

    gates = "abn"
    states = ("h", "m")
    vectors = ("p",)

    def step(self, x_gates, recurrent, state, vectors):
        h, m = state
        x_a, x_b, x_n = x_gates.chunk(3, -1)
        a = torch.sigmoid(x_a + recurrent(m, "a") + vectors["p"] * h)
        b = torch.tanh(x_b + recurrent(a * h, "b"))
        n = torch.tanh(x_n + recurrent(b, "n"))
        return a * h + (1 - a) * n, 0.5 * m + b * n


def compared(cell, T, B, H, *, lengths=None, precise=True, **options):
    """Return outputs, final states and all gradients, of the kernel and of plain torch."""
    torch.manual_seed(1)
    layer = Recurrent(cell, 3, H, **options)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(0.5 * torch.randn(p.shape) * max(1, p[0].numel()) ** -0.5)
    return passes.compared(LOOPS, layer, T, B, device=DEVICE, lengths=lengths, precise=precise)


@pytest.mark.parametrize(
    "cell", [RNN("relu"), LSTM(True), GRU(), LayerNormLSTM(), MinGRU(), Chain()], ids=repr
)
def test_one_program_has_all_channels(cell, assert_near):
    """H 5 is no power of two; lengths, one of them 0; start states."""
    assert_near(*compared(cell, 2, 3, 5, lengths=torch.tensor([2, 0, 1])), 1e-5)


@pytest.mark.parametrize(("cell", "T", "B"), [(LSTM(True), 1, 9), (GRU("before"), 2, 2)], ids=repr)
def test_programs_that_share_a_tile_exchange_what_products_read(
    cell, T, B, assert_near, monkeypatch
):
    """H 18: two slices of 16 channels, the second one nearly empty; 9 sequences are two tiles.

    The card holds two programs at once: it is launched for every tile.
    """
    monkeypatch.setattr(persistent, "programs_on", lambda device: 2)
    layer = Recurrent(cell, 3, 18)
    program = layer.directions[0].program(dropped=False)
    shape = shape_of(program, 18, "ieee")
    assert (shape.slices, shape.BR) == (2, 8)
    assert_near(*compared(cell, T, B, 18, lengths=torch.arange(B) % (T + 1)), 1e-5)


def test_a_cell_without_products_has_no_barrier_and_no_limit(assert_near):
    program = Recurrent(MinGRU(), 3, 600).directions[0].program(dropped=False)
    shape = shape_of(program, 600, "ieee")
    assert (shape.waits, shape.slices, shape.BR) == (False, 19, 4)
    assert_near(*compared(MinGRU(), 2, 5, 34, lengths=torch.tensor([2, 1, 0, 2, 2])), 1e-5)


@pytest.mark.parametrize(("T", "B"), [(1, 17), (3, 0), (1, 1)], ids=repr)
def test_one_step_more_sequences_than_a_tile_and_none(T, B, assert_near):
    assert_near(*compared(GRU("before"), T, B, 3), 1e-5)


def test_recurrent_dropout_drops_what_plain_torch_drops(assert_near):
    ours, right = compared(GRU(), 2, 2, 3, recurrent_dropout=0.5, precise=False)
    assert_near(ours, right, 1e-5)


def test_autocast_rounds_the_operands_of_products(assert_near):
    with torch.autocast(DEVICE, torch.bfloat16):
        (y, *_), _ = compared(GRU("before"), 2, 2, 3)
    (exact, *_), (right, *_) = compared(GRU("before"), 2, 2, 3)
    assert_near(y, right, 0.02)
    assert not torch.equal(y, exact)


def test_what_is_kept_does_not_depend_on_the_gradient():
    layer = Recurrent(GRU("before"), 3, 4).to(DEVICE)
    layer.kernels = [LOOPS]
    x = torch.randn(2, 2, 3, device=DEVICE)
    with torch.no_grad():
        plain, _ = layer(x)
    assert torch.equal(plain, layer(x)[0])


def test_what_it_does_not_take_it_says():
    loops = TritonLoops("cpu")
    net = Graph.from_edges([(0, 1), (1, 2)])

    def reason(layer, **options):
        layer.kernels = [loops, Reference()]
        shape = (1, 1, 3, 2) if options else (1, 1, 2)
        return dict(layer.choice(0, torch.ones(shape), **options).passed_over)["plait-gpu"]

    if DEVICE == "cuda":
        pytest.skip("it asks the interpreter")
    assert "is no matrix product" in reason(Recurrent(RNN(), 2, 3, operator=GCN()), graph=net)
    assert reason(Recurrent(RNN(), 2, 257)) == "257 channels are more than 256, the most of float32"
    assert reason(Recurrent(LayerNormLSTM(), 2, 129)) == (
        "129 channels are more than 128, the most of a cell with statistics of a row"
    )


def test_how_it_cuts_a_call_does_not_follow_from_its_batch_or_length():
    program = Recurrent(LSTM(True), 2, 128).directions[0].program(dropped=False)
    shape = shape_of(program, 128, "ieee")
    assert (shape.BH, shape.slices, shape.BR, shape.split, shape.BK) == (16, 8, 8, 4, 32)
    assert shape.shared == 4 * (4 * 128 * 16 + 8 * 128) + 2048


def test_products_are_as_torchs_switch_says(monkeypatch):
    """Three products of TF32 for wide layers, where the card has the memory; or none."""
    if DEVICE == "cuda":
        pytest.skip("it asks the interpreter")
    said, memory = "none", 227 * 1024

    def text(H, cell=LSTM(True)):  # noqa: B008
        layer = Recurrent(cell, 2, H)
        layer.kernels = [LOOPS]
        return layer.kernel().split("Triton kernel, ")[1].split(" (")[0]

    monkeypatch.setattr(precision, "float32_products", lambda: said)
    monkeypatch.setattr(persistent, "shared_on", lambda device: memory)
    three = "products of float32 as three of TF32"
    assert [text(128), text(256)] == ["products in float32", three]
    assert text(256, GRU("before")) == "products in float32"  # one upon another
    memory = 160 * 1024
    assert text(256) == "products in float32"
    said, memory = "ieee", 227 * 1024
    assert text(256) == "products in float32"


def test_three_products_of_tf32_take_tiles_of_tensor_cores(assert_near, monkeypatch):
    monkeypatch.setattr(precision, "float32_products", lambda: "none")
    monkeypatch.setattr(persistent, "NARROW", 0)
    program = Recurrent(LSTM(True), 3, 18).directions[0].program(dropped=False)
    assert shape_of(program, 18, "tf32x3").BR == 16
    assert_near(*compared(LSTM(True), 1, 3, 18), 1e-5)


def test_explain_says_what_was_not_run():
    layer = Recurrent(GRU("before"), 2, 3).to(DEVICE)
    layer.kernels = [LOOPS]
    text = layer.explain(source=True)
    assert text.startswith("layer 0: plait-gpu - all steps of GRU(reset='before') in one Triton")
    assert "not on a GPU yet" in text
    assert "def all_backward(t0, t1, first, rows, lengths, sync" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell", [LSTM(True), GRU("before"), LayerNormLSTM(), MinGRU(), Chain()], ids=repr
)
@pytest.mark.parametrize("H", [5, 20, 33])
def test_layers_and_both_directions(cell, H):
    assert check_kernel(LOOPS, cell, hidden_size=H, device=DEVICE)


cuda = pytest.mark.skipif(DEVICE == "cpu", reason="no CUDA device here")


@cuda
@pytest.mark.parametrize(
    "cell", [LSTM(True), GRU("before"), RNN(), LSTM(), GRU(), Chain()], ids=repr
)
@pytest.mark.parametrize(("T", "B", "H"), [(9, 70, 64), (7, 33, 128), (5, 300, 256)], ids=repr)
def test_on_a_gpu_programs_wait_for_one_another(cell, T, B, H, assert_near):
    """Many tiles, more than the card holds at once; lengths of all kinds."""
    lengths = torch.arange(B) % (T + 1)
    assert_near(*compared(cell, T, B, H, lengths=lengths), 2e-5)


@cuda
@pytest.mark.parametrize("cell", [LSTM(True), GRU("before")], ids=repr)
def test_on_a_gpu_long_sequences_are_bit_by_bit_the_same_again(cell):
    layer = Recurrent(cell, 8, 128).cuda()
    layer.kernels = [LOOPS]
    x = torch.randn(500, 64, 8, device="cuda", requires_grad=True)

    def once():
        y, _ = layer(x)
        return y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])

    first = once()
    for _ in range(5):
        assert all(map(torch.equal, once(), first))


@cuda
def test_on_a_gpu_tf32_is_torchs_switch(assert_near):
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        found, right = compared(LSTM(True), 4, 20, 256)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert_near(found, right, 5e-3)
    exact, _ = compared(LSTM(True), 4, 20, 256)
    assert not torch.equal(found[0], exact[0])


COMPILE = """
import re, subprocess, tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from plait import GRU, LSTM, LayerNormLSTM, Recurrent
from plait.kernels.gpu import attention_kernels, persistent, sparse_kernels
from plait.kernels.gpu.emit import WrittenProgram
from plait.kernels.gpu.emit_loops import WrittenLoops
from plait.kernels.gpu.persistent import shape_of
from plait.kernels.gpu.steps import back_tile, gates_tile, inner
from plait.kernels.gpu.triton_here import written

TOOL = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
NUMBERS = dict.fromkeys(
    ("t", "t0", "t1", "first", "rows", "N", "M", "edges", "steps", "slots", "width"), "i32"
)
NUMBERS |= dict.fromkeys(("slope", "times"), "fp32")
NUMBERS |= dict.fromkeys(("lengths", "sync", "segments", "others", "order", "sources"), "*i32")

def compiled(kernel, options, capability=90, **fixed):
    names = kernel.arg_names
    kinds = NUMBERS | dict.fromkeys(fixed, "constexpr")
    if "gather" in str(kernel):  # there "rows" are an array
        kinds["rows"] = "*fp32"
    source = ASTSource(
        fn=kernel, signature={n: kinds.get(n, "*fp32") for n in names},
        constexprs={(names.index(n),): v for n, v in fixed.items()},
        attrs={(k,): [["tt.divisibility", 16]] for k, n in enumerate(names) if n not in kinds},
    )
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        said = subprocess.run([TOOL, "-res-usage", file.name], capture_output=True, text=True)
    return *re.search(r"STACK:(\\d+).*LOCAL:(\\d+)", said.stdout).groups(), made.metadata.shared

COMMON = dict(ROUND=None, LENGTHS=True, KEEP=True)
for cell, H, products, capability in (
    (LSTM(True), 128, "ieee", 90), (LSTM(True), 256, "ieee", 90), (LSTM(True), 512, "tf32", 90),
    (GRU("before"), 256, "ieee", 90), (LayerNormLSTM(), 128, "ieee", 90),
    (LSTM(True), 64, "tf32", 80), (LSTM(True), 256, "tf32x3", 90),
    (LSTM(), 144, "tf32x3", 90),
):
    program = Recurrent(cell, 4, H).directions[0].program(dropped=False)
    code, shape = WrittenLoops.of(program), shape_of(program, H, products)
    for name in ("all_forward", "all_backward"):
        options = dict(
            num_warps=shape.warps, num_stages=1, launch_cooperative_grid=shape.waits
        )
        stack, local, shared = compiled(
            getattr(written(code.source), name), options, capability, H=H, BH=shape.BH, BR=shape.BR,
            BK=shape.BK, SPLIT=shape.split, SLICES=shape.slices, SEGMENT=-1,
            PRECISION=products, **COMMON,
        )
        print(cell, H, products, name, shared, stack, local, shared <= shape.shared)
for cell, H in ((LSTM(True), 128), (GRU("before"), 64), (LayerNormLSTM(), 64)):
    code = WrittenProgram.of(Recurrent(cell, 4, H).directions[0].program(dropped=False))
    gates, back = gates_tile(H, whole_rows=code.whole_rows), back_tile(H)
    for products in ("ieee", "tf32x3"):
        for phase, (BR, BH), stages, terms in (
            (code.gates[1], gates, 2, dict(IDENTITY=True, SHIFTED=2)),
            *((phase, back, 1, dict(TERMS=3)) for phase in code.back),
        ):
            stack, local, shared = compiled(
                getattr(written(code.source), phase.name), dict(num_warps=8, num_stages=stages),
                H=H, BH=BH, BR=BR, BK=inner(H), PRECISION=products, **terms, **COMMON,
            )
            print(cell, H, products, phase.name, shared, stack, local, shared <= 48 * 1024)
for plus, BW, E in ((False, 256, 8), (True, 256, 8), (True, 1, 256)):
    found = compiled(
        sparse_kernels.multiply, dict(num_warps=4), BW=BW, E=E, PLUS=plus, MINUS=plus, WHOLE=plus,
    )
    print("sparse", *found[:2], True)
for mode, vector in ((0, False), (1, False), (0, True), (1, True), (2, True)):
    found = compiled(
        attention_kernels.gather, dict(num_warps=1), K=8, D=8, C=8, KP=8, DP=8, CP=8, E=8,
        VECTOR=vector, MODE=mode, MASKS=False, ORDERED=False,
    )
    print("attention", mode, vector, *found[:2], True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Triton's compiler is for Linux")
def test_it_compiles_for_a_gpu_without_spilling_registers(tmp_path):
    """For compute capability 8 and 9, by the compiler that Triton brings, without a GPU."""
    env = {
        "TRITON_CACHE_DIR": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "PLAIT_KERNELS": str(tmp_path),
    }
    env["PYTHONPATH"] = ":".join(sys.path)
    found = subprocess.run(
        [sys.executable, "-c", COMPILE], capture_output=True, text=True, env=env, check=False
    )
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert len(lines) == 16 + 2 * (2 + 3 + 2) + 3 + 5
    assert all(line.endswith("0 0 True") for line in lines), found.stdout
