"""Muon: each gate's matrix is orthogonalised by itself; everything else is AdamW's."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import plait
from plait import LSTM, RNN, Attention, Recurrent
from plait.errors import InputError
from plait.training.checkpoint import pack_optimizer, unpack_optimizer
from plait.training.config import TrainingConfig
from plait.training.optimizer import COEFFICIENTS, gate_matrices, make_optimizer, orthogonal

MUON = TrainingConfig(optimizer="muon", lr=0.01, weight_decay=0.1)


def by_singular_values(matrix: np.ndarray) -> np.ndarray:
    """The iteration's odd polynomial acts on singular values alone."""
    a, b, c = COEFFICIENTS
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    s = s / np.linalg.norm(s)
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    return u * s @ v


class Model(nn.Module):
    """A recurrent layer between an embedding and an output, as the tasks have them."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embedding = nn.Embedding(7, 4)
        self.recurrent = Recurrent(LSTM(), 4, 6, layers=2)
        self.output = nn.Linear(6, 7)
        self.to(dtype)

    def forward(self, x):
        return self.output(self.recurrent(self.embedding(x))[0])


def descend(model: Model, optimizer: torch.optim.Optimizer, batches: range) -> list[dict]:
    """Make a step per batch; return the gradients of each."""
    gradients = []
    for k in batches:
        x = torch.randint(7, (5, 3), generator=torch.Generator().manual_seed(k))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x).flatten(0, 1), x.roll(-1, 0).flatten()).backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters()})
        optimizer.step()
    return gradients


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 8, 3), (2, 3, 8)])
def test_orthogonal_is_the_polynomial_of_the_singular_values(shape):
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = np.stack([by_singular_values(m) for m in x.numpy()])
    assert np.allclose(orthogonal(x).numpy(), expected, rtol=0, atol=1e-12)


def test_a_zero_gradient_is_no_step():
    assert torch.equal(orthogonal(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


def test_three_steps_are_those_of_the_equations():
    model = Model()
    names = {id(p): n for n, p in model.named_parameters()}
    gates = {names[id(p)]: count for p, count in gate_matrices(model)}
    assert sorted(gates.values()) == [4, 4, 4, 4]
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    gradients = descend(model, make_optimizer(model, MUON), range(3))
    first = {n: torch.zeros_like(w) for n, w in weights.items()}
    second = copy.deepcopy(first)
    for t, step in enumerate(gradients, 1):
        for name, g in step.items():
            w, decay = weights[name], 0.1 if weights[name].ndim > 1 else 0.0
            if name not in gates:  # AdamW
                first[name] = 0.9 * first[name] + 0.1 * g
                second[name] = 0.999 * second[name] + 0.001 * g**2
                root = (second[name] / (1 - 0.999**t)).sqrt() + 1e-8
                weights[name] = w * (1 - 0.01 * decay) - 0.01 * first[name] / (1 - 0.9**t) / root
                continue
            first[name] = 0.95 * first[name] + 0.05 * g
            ahead = 0.95 * first[name] + 0.05 * g
            update = [by_singular_values(m.numpy()) for m in ahead.chunk(gates[name])]
            rms = 0.2 * math.sqrt(max(6, w.shape[1]))
            weights[name] = w * (1 - 0.01 * decay) - 0.01 * rms * torch.tensor(
                np.concatenate(update)
            )
    for name, p in model.named_parameters():
        assert torch.allclose(p, weights[name], rtol=0, atol=1e-12), name


def test_each_gate_is_a_parameter_of_torch_s_muon():
    model = Model(torch.float32)
    gates = [
        (nn.Parameter(part.detach().clone()), p, k, count)
        for p, count in gate_matrices(model)
        for k, part in enumerate(p.chunk(count))
    ]
    theirs = torch.optim.Muon(
        [g for g, *_ in gates], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    start = [g.detach().clone() for g, *_ in gates]
    names = {id(p): n for n, p in model.named_parameters()}
    for gradients in descend(model, make_optimizer(model, MUON), range(3)):
        for g, p, k, count in gates:
            g.grad = gradients[names[id(p)]].chunk(count)[k].clone()
        theirs.step()
    moved = torch.cat(
        [(g - before).flatten() for (g, *_), before in zip(gates, start, strict=True)]
    )
    ours = torch.cat(
        [
            (p.chunk(count)[k] - before).flatten()
            for (_, p, k, count), before in zip(gates, start, strict=True)
        ]
    )
    assert (moved - ours).norm() < 0.1 * moved.norm()  # theirs is in bfloat16


def test_it_goes_on_from_what_was_packed():
    whole, model = Model(torch.float32), Model(torch.float32)
    descend(whole, make_optimizer(whole, MUON), range(5))
    optimizer = make_optimizer(model, MUON)
    descend(model, optimizer, range(3))
    packed = {name: value.clone() for name, value in pack_optimizer(optimizer).items()}
    again = make_optimizer(model, MUON)
    unpack_optimizer(again, packed)
    descend(model, again, range(3, 5))
    for p, q in zip(whole.parameters(), model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_model_of_gates_alone_goes_on_too():
    model = Recurrent(RNN(), 3, 4)
    model.directions[0].bias = None
    optimizer = make_optimizer(model, TrainingConfig(optimizer="muon"))
    for p, _ in gate_matrices(model):
        p.grad = torch.ones_like(p)
    optimizer.step()
    again = make_optimizer(model, TrainingConfig(optimizer="muon"))
    unpack_optimizer(again, pack_optimizer(optimizer))
    assert pack_optimizer(again).keys() == pack_optimizer(optimizer).keys()


def test_vectors_that_score_edges_are_not_orthogonalised():
    model = Recurrent(LSTM(), 4, 6, operator=Attention(heads=2, edge_size=3))
    taken = {id(p) for p, _ in gate_matrices(model)}
    left = {n.rsplit(".")[-1] for n, p in model.named_parameters() if id(p) not in taken}
    assert set(model.operator.score_weights) <= left


def test_a_model_without_recurrent_layers_is_refused(tmp_path):
    message = (
        "^--optimizer muon is for the matrices of recurrent layers, and this model has none; "
        "use --optimizer adamw$"
    )
    with pytest.raises(InputError, match=message):
        make_optimizer(nn.Linear(2, 2), TrainingConfig(optimizer="muon"))
    with pytest.raises(InputError, match=message):
        plait.train("nodes", data="karate", optimizer="muon", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
