"""Attention in Triton against plain operations on all edges, in float64."""

import pytest
import torch

from plait.kernels.attention import formula, neighbourhood
from plait.kernels.gpu import attention

pytest.importorskip("triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def drawn(*shape):
    return torch.randn(shape, dtype=torch.float64).to(DEVICE)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("segment", [256, 3], ids=["whole", "cut"])
@pytest.mark.parametrize(("B", "K", "D"), [(2, 3, 5), (1, 1, 1), (1, 4, 8)])
def test_values_and_gradients_are_the_formulas(
    version, dropout, segment, B, K, D, monkeypatch, assert_near
):
    """Node 0 aggregates all; K and D are no powers of two, or 1."""
    monkeypatch.setattr(attention, "SEGMENT", segment)
    N = 7
    pairs = {(j, 0) for j in range(N)} | {(i, i) for i in range(N)} | {(0, 3), (2, 5), (0, 5)}
    sources, targets = torch.tensor(sorted(pairs)).T.to(DEVICE)
    hood = neighbourhood(sources, targets, N)
    values = drawn(B, N, K, D, 1)
    if version == 1:
        sides = [drawn(B, N, K, 1), drawn(B, N, K, 1)]
    else:
        sides = [drawn(B, N, K, D, 1), drawn(B, N, K, D, 1), drawn(K, D, 1)]
    masks = torch.zeros(0, device=DEVICE).double()
    if dropout:
        masks = 2.0 * (torch.rand(B, len(sources), K, 1) < 0.5).double().to(DEVICE)
    given = [t.requires_grad_() for t in (values, *sides)]
    vector = given[3] if version == 2 else None
    right = formula(given[0], given[1], given[2], vector, hood, masks)
    grad = drawn(*right.shape)
    right_grads = torch.autograd.grad(right, given, grad)
    single = [t.detach().float() for t in given]
    vector = single[3] if version == 2 else None
    inputs = (single[0], single[1], single[2], vector)
    y, *kept = attention.forward(*inputs, hood, masks.float(), 0.2)
    changes = attention.backward(grad.float(), *inputs, hood, masks.float(), y, *kept, 0.2)
    assert_near(y.double(), right, 1e-6)
    for change, wanted in zip(changes, right_grads, strict=False):
        atol = 1e-5 * max(1.0, float(wanted.abs().max()))
        torch.testing.assert_close(change.double(), wanted, rtol=0, atol=atol)


def test_rows_that_fit_no_tile_are_left_to_torch():
    hood = neighbourhood(torch.tensor([0]), torch.tensor([0]), 1)
    assert not attention.can_run(torch.ones(1, 1, 1, 4, 1), torch.ones(1, 1, 1, 4, 1), hood)
