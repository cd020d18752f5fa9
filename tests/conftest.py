"""What the tests of several files share."""

import copy
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

# Kernels for a GPU run in Triton's interpreter where there is none. Triton reads this as it is
# imported, which torch's compiler does, and other packages.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

from plait.kernels.reference import Reference
from plait.nn import Recurrent

# The tensors of the tests are tiny: a second thread costs more than it brings.
torch.set_num_threads(1)

Tensors = Tensor | tuple[Tensor, ...]


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def assert_near() -> Callable[[Tensors, Tensors, float], None]:
    """Assert that tensors differ by at most `tolerance` of the largest expected entry."""

    def check(actual: Tensors, expected: Tensors, tolerance: float = 1e-12) -> None:
        if isinstance(expected, Tensor):
            actual, expected = (actual,), (expected,)
        for a, e in zip(actual, expected, strict=True):
            assert a.shape == e.shape
            assert a.dtype == e.dtype
            allowed = tolerance * float(e.detach().abs().max()) if e.numel() else 0.0
            torch.testing.assert_close(a, e, rtol=0, atol=allowed)

    return check


@pytest.fixture(scope="session")
def make_layer() -> Callable[..., Recurrent]:
    """Make a layer in float64 whose every weight is drawn anew, biases and peepholes too."""

    def make(*args, seed: int = 0, **options) -> Recurrent:
        layer = Recurrent(*args, **options).double()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in layer.parameters():
                p.copy_(0.5 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
        return layer

    return make


@pytest.fixture(scope="session")
def on_reference() -> Callable[[Recurrent], Recurrent]:
    """Make the same layer on the reference path."""

    def twin(layer: Recurrent) -> Recurrent:
        other = copy.deepcopy(layer)
        other.kernels = [Reference()]
        assert other.explain().startswith("layer 0: reference")
        return other

    return twin


@pytest.fixture(scope="session")
def answers() -> Callable[..., tuple[tuple[Tensor, ...], dict[str, Tensor]]]:
    """Return outputs and final states, and the gradients of a fixed weighting of all of them.

    The gradients are with respect to the input, the initial states and the weights, by name.
    """

    def run(
        module: torch.nn.Module, x: Tensor, state: tuple[Tensor, ...], call=None, **options
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        x = x.clone().requires_grad_()
        state = tuple(s.clone().requires_grad_() for s in state)
        y, final = (call or module)(x, state if len(state) > 1 else state[0], **options)
        values = (y, *((final,) if isinstance(final, Tensor) else final))
        generator = torch.Generator().manual_seed(1)
        weighting = [torch.randn(v.shape, generator=generator).to(v.dtype) for v in values]
        loss = sum((v * w).sum() for v, w in zip(values, weighting, strict=True))
        of = {"x": x, **{f"state {k}": s for k, s in enumerate(state)}}
        of |= dict(module.named_parameters())
        return values, dict(zip(of, torch.autograd.grad(loss, list(of.values())), strict=True))

    return run


@pytest.fixture(scope="session")
def learn() -> Callable[[Any], None]:
    """Learn a task whose batches carry nothing along, without a run folder."""

    def make(task: Any) -> None:
        optimizer = torch.optim.Adam(task.model.parameters(), lr=task.config.lr)
        for step in range(1, task.config.steps + 1):
            loss, _, _ = task.loss(task.model, task.batch(step), ())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return make
