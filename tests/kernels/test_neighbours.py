"""Attention by the compiled loops against its formula over all pairs, in float64."""

import pytest
import torch
from torch import Tensor

from plait.kernels import attention as kernel
from plait.kernels import neighbours

SIZES = [(2, 8, 8), (1, 3, 5), (3, 1, 40), (1, 17, 2), (1, 18, 20)]
"""Members, heads, channels: less than a vector, several, heads that fill more than one."""


@pytest.fixture
def hood() -> kernel.Neighbourhood:
    """A hundred nodes; the last is a hub both ways, of more edges than are taken at a time."""
    N = 100
    assert N > neighbours.EDGES
    index = torch.cat([torch.randint(N, (2, 300)), torch.arange(N).repeat(2, 1)], 1)
    others, hub = torch.arange(N), torch.full((N,), N - 1)
    index = torch.cat([index, torch.stack([others, hub]), torch.stack([hub, others])], 1)
    return kernel.neighbourhood(*torch.unique(index, dim=1), N)


def draw(hood: kernel.Neighbourhood, size: tuple[int, int, int]) -> list[Tensor]:
    B, K, D = size
    N = len(hood.starts) - 1
    return [torch.randn(B, N, K, D), torch.randn(B, N, K), torch.randn(B, N, K)]


def by_formula(
    values: Tensor, left: Tensor, right: Tensor, hood: kernel.Neighbourhood, masks: Tensor
) -> Tensor:
    hears = torch.zeros(values.shape[1], values.shape[1], dtype=torch.bool)
    hears[hood.targets, hood.sources] = True
    scores = torch.nn.functional.leaky_relu(right[:, :, None] + left[:, None], 0.2)  # [B, i, j, K]
    coefficients = scores.masked_fill(~hears[..., None], -torch.inf).softmax(2)
    if masks.numel():
        all_masks = torch.zeros_like(coefficients)
        all_masks[:, hood.targets, hood.sources] = masks.double()
        coefficients = coefficients * all_masks
    return torch.einsum("bijk,bjkd->bikd", coefficients, values)


def gradients(y: Tensor, of: list[Tensor]) -> tuple[Tensor, ...]:
    weighting = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad((y * weighting.to(y.dtype)).sum(), of)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_values_and_gradients_are_the_formulas(size, dropout, hood, assert_near):
    tensors = [t.requires_grad_() for t in draw(hood, size)]
    assert kernel.has_loops(tensors[0])
    torch.manual_seed(3)
    y = kernel.attend(*tensors[:3], None, hood, dropout)
    torch.manual_seed(3)
    masks = kernel._drawn(tensors[0], hood, dropout, int(torch.randint(2**62, ())))
    double = [t.detach().double().requires_grad_() for t in tensors]
    expected = by_formula(*double, hood, masks)
    assert_near(y, expected.float(), 1e-6)
    for ours, theirs in zip(gradients(y, tensors), gradients(expected, double), strict=True):
        assert_near(ours, theirs.float(), 1e-5)


def test_answers_do_not_depend_on_the_number_of_threads(hood, monkeypatch):
    tensors = [t.requires_grad_() for t in draw(hood, (3, 4, 6))]
    y = kernel.attend(*tensors, None, hood)
    expected = gradients(y, tensors)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(kernel, "ROWS", 37)
    again = kernel.attend(*tensors, None, hood)
    assert torch.equal(again, y)
    assert all(map(torch.equal, gradients(again, tensors), expected))


def test_scores_far_apart_and_what_is_no_number(hood):
    values, left, right = draw(hood, (1, 2, 3))
    left[0, 7] = 1e6  # whoever hears it hears nothing else
    y = kernel.attend(values, left, right, None, hood)
    hears = hood.targets[hood.sources == 7]
    assert torch.equal(y[0, hears], values[0, 7].expand(len(hears), -1, -1))
    values[0, 7, 1, 2] = torch.nan
    y = kernel.attend(values, left, right, None, hood)
    assert y[0, hears, 1, 2].isnan().all()
    assert y[0, :, 0].isfinite().all()


def test_where_the_loops_do_not_run(hood, assert_near):
    tensors = draw(hood, (2, 3, 5))
    assert not kernel.has_loops(tensors[0].double())
    y = kernel.attend(*tensors, None, hood)
    assert_near(y, kernel.attend(*(t.double() for t in tensors), None, hood).float(), 1e-6)
