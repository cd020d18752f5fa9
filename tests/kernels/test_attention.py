"""Attention's kernels against the formula over all pairs, in float64; what reaches them."""

import pytest
import torch
from torch import Tensor

from plait.kernels import attention as kernel
from plait.kernels.cpu import attention as version1
from plait.kernels.cpu import attention2 as version2
from plait.kernels.cpu import simd

both_versions = pytest.mark.parametrize("version", [1, 2])
SIZES = [
    (2, 8, 8),
    (1, 3, 5),
    (3, 1, 40),
    (1, 17, 2),
    (1, 18, 20),
    (2, 1, 1),
    (1, 4, 1),
    (1, 5, 67),
]
"""Members, heads, channels: less than a vector, several, heads that fill more than one."""


@pytest.fixture
def hood() -> kernel.Neighbourhood:
    """A hundred nodes; the last is a hub both ways, of more edges than are taken at a time.

    The first ten have no edge but their own loop.
    """
    N = 110
    assert N - 10 > version1.EDGES
    index = torch.randint(10, N, (2, 300))
    others, hub = torch.arange(10, N), torch.full((N - 10,), N - 1)
    pairs = torch.stack([others, hub]), torch.stack([hub, others]), torch.arange(N).repeat(2, 1)
    return kernel.neighbourhood(*torch.unique(torch.cat([index, *pairs], 1), dim=1), N)


def draw(
    hood: kernel.Neighbourhood, size: tuple[int, int, int], version: int, scored: int | None = None
) -> list[Tensor]:
    """Draw values, left, right, and the vector of version 2, whose scores may have a width."""
    B, K, D = size
    N = len(hood.starts) - 1
    if version == 1:
        return [torch.randn(B, N, K, D), torch.randn(B, N, K), torch.randn(B, N, K)]
    d = scored or D
    sides = torch.randn(B, N, K, d), torch.randn(B, N, K, d)
    return [torch.randn(B, N, K, D), *sides, torch.randn(K, d) / d**0.5]


def attend(tensors: list[Tensor], hood: kernel.Neighbourhood, dropout: float = 0.0) -> Tensor:
    values, left, right, *vector = tensors
    return kernel.attend(values, left, right, vector[0] if vector else None, hood, dropout)


def by_formula(tensors: list[Tensor], hood: kernel.Neighbourhood, masks: Tensor) -> Tensor:
    values, left, right, *vector = tensors
    edges = torch.zeros(values.shape[1], values.shape[1], dtype=torch.bool)
    edges[hood.targets, hood.sources] = True
    scores = torch.nn.functional.leaky_relu(right[:, :, None] + left[:, None], 0.2)
    if vector:
        scores = (scores * vector[0]).sum(-1)  # [B, i, j, K]
    coefficients = scores.masked_fill(~edges[..., None], -torch.inf).softmax(2)
    if masks.numel():
        all_masks = torch.zeros_like(coefficients)
        all_masks[:, hood.targets, hood.sources] = masks.to(coefficients.dtype)
        coefficients = coefficients * all_masks
    return torch.einsum("bijk,bjkd->bikd", coefficients, values)


def drawn(tensors: list[Tensor], hood: kernel.Neighbourhood, dropout: float) -> Tensor:
    """Draw the masks `[B, E, K]` that `attend` draws at this state of torch's generator."""
    heads = kernel.Lanes(tensors[0].shape[2], tensors[0].shape[2], 1, 1)
    seed = int(torch.randint(2**62, ())) if dropout else 0
    return kernel._masks(tensors[0], hood, heads, dropout, seed).squeeze(-1)


def gradients(y: Tensor, of: list[Tensor]) -> tuple[Tensor, ...]:
    weighting = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad((y * weighting.to(y.dtype)).sum(), of)


@both_versions
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_values_and_gradients_are_the_formulas(size, dropout, version, hood, assert_near):
    tensors = [t.requires_grad_() for t in draw(hood, size, version)]
    assert kernel.has_loops(tensors[0])
    torch.manual_seed(3)
    y = attend(tensors, hood, dropout)
    torch.manual_seed(3)
    masks = drawn(tensors, hood, dropout)
    double = [t.detach().double().requires_grad_() for t in tensors]
    expected = by_formula(double, hood, masks)
    assert_near(y, expected.float(), 1e-6)
    for ours, theirs in zip(gradients(y, tensors), gradients(expected, double), strict=True):
        assert_near(ours, theirs.float(), 1e-5)


@pytest.mark.parametrize("scored", [1, 3, 40])
def test_scores_may_be_wider_or_narrower_than_values(scored, hood, assert_near):
    tensors = [t.requires_grad_() for t in draw(hood, (2, 3, 7), 2, scored)]
    double = [t.detach().double().requires_grad_() for t in tensors]
    y, expected = attend(tensors, hood), by_formula(double, hood, torch.empty(0))
    assert_near(y, expected.float(), 1e-6)
    for ours, theirs in zip(gradients(y, tensors), gradients(expected, double), strict=True):
        assert_near(ours, theirs.float(), 1e-5)


def test_values_that_are_compared_too_get_both_gradients(hood, assert_near):
    _, z, right, vector = (t.requires_grad_() for t in draw(hood, (2, 4, 6), 2))
    y = kernel.attend(z, z, right, vector, hood)
    double = [t.detach().double().requires_grad_() for t in (z, right, vector)]
    expected = by_formula([double[0], *double], hood, torch.empty(0))
    assert_near(y, expected.float(), 1e-6)
    theirs = gradients(expected, double)
    for ours, other in zip(gradients(y, [z, right, vector]), theirs, strict=True):
        assert_near(ours, other.float(), 1e-5)


@both_versions
def test_answers_do_not_depend_on_the_number_of_threads(version, hood, monkeypatch):
    monkeypatch.setattr(version1, "ROWS", 37)
    monkeypatch.setattr(version2, "ROWS", 37)
    tensors = [t.requires_grad_() for t in draw(hood, (3, 4, 6), version)]
    y = attend(tensors, hood)
    expected = gradients(y, tensors)
    for threads in (2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        again = attend(tensors, hood)
        assert torch.equal(again, y)
        assert all(map(torch.equal, gradients(again, tensors), expected))


@both_versions
def test_scores_far_apart_and_what_is_no_number(version, hood):
    values, left, right, *vector = draw(hood, (1, 2, 3), version)
    left[0, 17] = 1e6  # its neighbours aggregate nothing else
    tensors = [values, left, right, *(v.abs() for v in vector)]
    y = attend(tensors, hood)
    edges = hood.targets[hood.sources == 17]
    assert torch.equal(y[0, edges], values[0, 17].expand(len(edges), -1, -1))
    values[0, 17, 1, 2] = torch.nan
    y = attend(tensors, hood)
    assert y[0, edges, 1, 2].isnan().all()
    assert y[0, :, 0].isfinite().all()


@both_versions
def test_where_the_loops_do_not_run(version, hood, assert_near):
    tensors = draw(hood, (2, 3, 5), version)
    assert not kernel.has_loops(tensors[0].double())
    y = attend(tensors, hood)
    assert_near(y, attend([t.double() for t in tensors], hood).float(), 1e-6)
    # 64-bit indices, as a graph of 2³¹ edges has them
    long = kernel.Neighbourhood(*(t.long() for t in hood))
    assert_near(attend(tensors, long), y, 1e-6)


@both_versions
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_gradient_of_a_gradient_sees_the_same_masks(dropout, kind, version, hood, assert_near):
    tensors = [t.to(kind).requires_grad_() for t in draw(hood, (2, 3, 5), version)]
    torch.manual_seed(3)
    y = attend(tensors, hood, dropout)
    weighting = torch.randn_like(y)
    plain = torch.autograd.grad(y, tensors, weighting, create_graph=True)
    kept = torch.autograd.grad(y, tensors, weighting)
    for one, two in zip(plain, kept, strict=True):
        assert_near(one.detach(), two, 1e-5 if kind == torch.float32 else 1e-12)


@both_versions
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("asked", [(0, 1, 2, 3), (0,), (1,), (2, 3)], ids=str)
def test_second_gradients_are_the_numerical_ones(asked, dropout, version):
    index = torch.tensor([[0, 1, 2, 1, 0, 1, 2, 3], [1, 0, 1, 2, 0, 1, 2, 3]])
    hood = kernel.neighbourhood(*index, 4)
    tensors = [t.double() for t in draw(hood, (2, 2, 3), version)]
    asked = [k for k in asked if k < len(tensors)]
    for k in asked:
        tensors[k].requires_grad_()

    def answer(*given):
        torch.manual_seed(3)
        own = list(tensors)
        for k, t in zip(asked, given, strict=True):
            own[k] = t
        return attend(own, hood, dropout)

    given = tuple(tensors[k] for k in asked)
    assert torch.autograd.gradcheck(answer, given)
    assert torch.autograd.gradgradcheck(answer, given)  # the incoming gradient is an input too
    weighting = torch.randn(2, 4, 2, 3).double()  # … and here it needs none

    def slopes(*given):
        return torch.autograd.grad(answer(*given), given, weighting, create_graph=True)

    assert torch.autograd.gradcheck(slopes, given)


def test_an_answer_written_over_is_noticed(hood):
    tensors = [t.requires_grad_() for t in draw(hood, (1, 2, 3), 1)]
    y = attend(tensors, hood)
    total = y.square().sum()
    y.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


ODD = {
    "strides": lambda t: t.mT.contiguous().mT if t.ndim > 1 else t,
    "every other": lambda t: torch.stack([t, t + 1], -1)[..., 0],
    "a negative bit": lambda t: torch.complex(torch.zeros_like(t), -t).conj().imag,
}


@both_versions
@pytest.mark.parametrize("odd", ODD)
def test_tensors_of_any_form_in_memory_are_what_they_say(odd, version, hood):
    tensors = draw(hood, (2, 3, 5), version)
    expected = attend(tensors, hood)
    others = [ODD[odd](t) for t in tensors]
    assert all(map(torch.equal, others, tensors))
    if odd == "a negative bit":
        assert others[0].is_neg()
    others = [t.requires_grad_() if t.is_leaf else t for t in others]
    y = attend(others, hood)
    assert torch.equal(y, expected)
    tensors = [t.requires_grad_() for t in tensors]
    weighting = torch.randn(y.shape)
    theirs = torch.autograd.grad(attend(tensors, hood), tensors, weighting)
    leaves = [t for t in others if t.is_leaf]
    for ours, k in zip(torch.autograd.grad(y, leaves, ODD[odd](weighting)), leaves, strict=True):
        at = next(n for n, t in enumerate(others) if t is k)
        assert torch.equal(ours, theirs[at])


@both_versions
def test_half_precision_is_computed_in_float32(version, hood):
    tensors = draw(hood, (2, 3, 5), version)
    rounded = [t.bfloat16() for t in tensors]
    y = attend(rounded, hood)
    assert y.dtype == torch.bfloat16
    expected = attend([t.float() for t in rounded], hood)
    assert torch.equal(y, expected.bfloat16())
    mixed = attend([rounded[0], *(t.float() for t in rounded[1:])], hood)
    assert torch.equal(mixed, y)


def refusals(hood):
    values, left, right, vector = draw(hood, (2, 3, 5), 2)
    one = left[..., 0]
    yield (values, left.double(), right, vector), "values are torch.float32, left torch.float64"
    yield (values, left, right.double(), vector), "values are torch.float32, right torch.float64"
    yield (values, left, right, vector.double()), "values are torch.float32, vector torch.float64"
    yield (values.double(), one, one, None), "values are torch.float64, left torch.float32"
    yield (values.int(), one.int(), one.int(), None), "values must be floating .* not torch.int32"
    yield (values, left.to("meta"), right, vector), "values are on cpu, left on meta"
    yield (values, left[:1], right, vector), r"left must be \[2, 110, .*; got shape \[1, 110"
    yield (values, one, one[:, 1:], None), r"right must be \[2, 110, 3, 1\]; got shape \[2, 109"
    yield (values[:, 1:], one[:, 1:], one[:, 1:], None), "values are of 109 nodes, .* of 110"


def test_what_does_not_fit_is_refused_with_both_sides_named(hood):
    for tensors, message in refusals(hood):
        with pytest.raises(ValueError, match=message):
            kernel.attend(*tensors, hood)
    meta = [t.to("meta") for t in draw(hood, (2, 3, 5), 2)]
    with pytest.raises(ValueError, match="values are on meta, the graph on cpu"):
        kernel.attend(*meta, hood)


@pytest.mark.parametrize("heads", [1, 2, 3, 7, 8, 16, 17, 33])
@pytest.mark.parametrize("channels", [1, 5, 16, 67])
def test_rows_fill_whole_vectors_and_come_back(heads, channels):
    lay = kernel.lanes(torch.empty(0), heads, channels, vector=True)
    x = torch.randn(2, heads, channels)
    packed = lay.pack(x)
    _, G, P, W = packed.shape
    assert (lay.groups, lay.width) == (G, W)
    assert P * W % simd.LANES == 0
    assert torch.equal(lay.unpack(packed, channels), x)
    assert packed.sum().item() == pytest.approx(x.sum().item(), abs=1e-3)
    assert lay.heads == heads
    natural = kernel.lanes(torch.empty(0), heads, channels, vector=False)
    assert torch.equal(natural.pack(x)[..., 0], x)


def test_rows_that_do_not_fill_vectors_go_elsewhere(hood, assert_near):
    values, left, right, vector = draw(hood, (2, 3, 5), 2)
    natural = kernel.Lanes(3, 3, 1, 1)
    given = [natural.pack(t) for t in (values, left, right, vector)]
    y = kernel.attend_packed(*given, hood, natural)
    assert_near(y[..., 0], kernel.attend(values, left, right, vector, hood), 1e-6)
