"""Reversible instance normalisation: by its formula, in the forecaster, and where it is refused."""

import numpy as np
import pytest
import torch
from tests.tasks.forecast.test_model import H, N, P, forecaster

from plait.errors import InputError
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.export import forecast_form
from plait.tasks.forecast.instance import InstanceNorm


def drawn() -> InstanceNorm:
    norm = InstanceNorm(N).double()
    with torch.no_grad():
        norm.weight.copy_(torch.randn(N).double())
        norm.bias.copy_(torch.randn(N).double())
    return norm


def test_it_is_the_formula_and_is_undone(assert_near):
    norm, x = drawn(), 3 + 2 * torch.randn(P, 2, N).double()
    values, of = x.numpy(), norm.statistics(x)
    deviation = np.sqrt(values.var(0) + 1e-5)
    expected = norm.weight.detach().numpy() * (values - values.mean(0)) / deviation
    assert_near(norm(x, of), torch.from_numpy(expected) + norm.bias)
    assert_near(norm.undo(norm(x, of)[..., None], of)[..., 0], x)


@pytest.mark.parametrize("options", [
    {}, {"quantiles": "0.1,0.5,0.9"}, {"skip": "last"}, {"skip": "none", "decoder": "recurrent"},
    {"likelihood": "gaussian"},
], ids=str)  # fmt: skip
def test_forecasts_move_with_level_and_size_of_the_window(options, assert_near):
    model = forecaster(instance_norm=True, **options)
    x = torch.randn(P, 2, N).double()
    level, size = torch.randn(2, N).double(), 1 + torch.rand(2, N).double()
    tall = 1e4  # so that the 1e-5 of the variance is no matter
    y, moved = model(tall * x), model(tall * (level + size * x))
    first = y[..., :1] if options.get("likelihood") else y.reshape(H, 2, N, -1)
    other = moved[..., :1] if options.get("likelihood") else moved.reshape(H, 2, N, -1)
    assert_near(other, tall * level[..., None] + size[..., None] * first, 1e-7)


def test_the_direct_answer_is_brought_back(assert_near):
    model = forecaster(instance_norm=True)
    norm, x = model.instance, torch.randn(P, 2, N).double()
    assert norm is not None
    of = norm.statistics(x)
    within = norm(x, of)
    h, _ = model.recurrent(within[..., None], graph=model.graph)
    y = model.output(h[-1]).permute(2, 0, 1) + torch.tensordot(model.skip, within, 1)
    assert_near(model(x), norm.undo(y[..., None], of)[..., 0])


def test_one_step_at_a_time_is_refused():
    model = forecaster(instance_norm=True)
    with pytest.raises(InputError, match="takes whole windows, no steps; take `plait predict"):
        model.step(np.zeros(N))
    config = ForecastConfig(instance_norm=True)
    with pytest.raises(InputError, match="export without --step"):
        forecast_form(model, config, {}, step=True)
