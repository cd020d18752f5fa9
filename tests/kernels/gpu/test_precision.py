"""How exactly kernels multiply; the rounding of tensor cores is emulated in the interpreter."""

import copy

import numpy as np
import pytest
import torch

from plait import GRU, LSTM, Chebyshev, Graph, Recurrent
from plait.kernels.gpu import persistent, precision
from plait.kernels.gpu.persistent import TritonLoops
from plait.kernels.gpu.steps import TritonSteps
from plait.kernels.reference import Reference

pytest.importorskip("triton")
interpreter = pytest.importorskip("triton.runtime.interpreter")

if torch.cuda.is_available():
    pytest.skip("a GPU is here: its tensor cores round", allow_module_level=True)

NET = Graph.from_edges([(0, 1), (1, 2), (2, 0), (3, 4), (4, 1)]).to_undirected()


def tf32(x):
    """Round to 10 bits after the first, to the nearest; what is half way goes away from 0."""
    bits = x.astype(np.float32).view(np.uint32) + np.uint32(1 << 12)
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)


def rounding_dot(used):
    """Make a product of the interpreter that rounds as tensor cores do, and notes how."""
    known = interpreter.interpreter_builder.create_dot

    def create_dot(a, b, d, input_precision, most):
        used.add(input_precision.name)
        if input_precision.name == "IEEE":
            return known(a, b, d, input_precision, most)
        big = [tf32(x.data) for x in (a, b)]
        total = np.matmul(*big, dtype=np.float32)
        if input_precision.name == "TF32x3":
            small = [tf32(x.data - y) for x, y in zip((a, b), big, strict=True)]
            rest = np.matmul(big[0], small[1]) + np.matmul(small[0], big[1])
            total = rest + total
        return interpreter.TensorHandle(total + d.data, d.dtype.scalar)

    return create_dot


def error(layer, kernel, x, graph):
    """Return the largest error of outputs and gradients, of each one's largest entry."""
    found = []
    for one, kind in ((kernel, torch.float32), (Reference(), torch.float64)):
        other = copy.deepcopy(layer).to(kind)
        other.kernels = [one]
        given = x.to(kind).requires_grad_()
        y, _ = other(given, graph=graph)
        grads = torch.autograd.grad(y.square().sum(), [given, *other.parameters()])
        found.append((y.detach(), *grads))
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("cell", "operator", "kernel"),
    [(LSTM(True), None, TritonLoops), (GRU("before"), Chebyshev(3), TritonSteps)],
    ids=["all steps", "graph"],
)
def test_three_products_of_tf32_are_as_exact_as_float32(cell, operator, kernel, monkeypatch):
    """One is not: its error is a thousand times as large."""
    used = set()
    monkeypatch.setattr(persistent, "NARROW", 0)
    monkeypatch.setattr(interpreter.interpreter_builder, "create_dot", rounding_dot(used))
    options = {} if operator is None else {"operator": operator}
    layer = Recurrent(cell, 3, 20, **options)
    x = torch.randn(2, 2, *([] if operator is None else [5]), 3)
    graph, found = None if operator is None else NET, {}
    for said, name in (("none", "TF32x3"), ("ieee", "IEEE"), ("tf32", "TF32")):
        monkeypatch.setattr(precision, "float32_products", lambda said=said: said)
        used.clear()
        if said == "tf32":  # torch's switch is for a GPU
            for module in ("over_time", "persistent"):
                monkeypatch.setattr(f"plait.kernels.gpu.{module}.products_in", lambda call: "tf32")
        found[said] = error(layer, kernel("cpu"), x, graph)
        assert used == {name}
    assert found["none"] < 1e-6
    assert found["ieee"] < 1e-6
    assert 1e-5 < found["tf32"] < 5e-3
