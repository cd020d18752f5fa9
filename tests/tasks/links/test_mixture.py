"""The mixture of scores, by its formula."""

import math

import torch

from plait.tasks.links.hard import HardPairs
from plait.tasks.links.mixture import PENALTY, PRIOR, Mixture
from plait.tasks.links.trial import Trial

OF = torch.tensor([0, 0, 2, 2, 2, 3])
TRIAL = Trial(
    torch.zeros(2, 9), torch.zeros(2, 9), HardPairs(torch.zeros(2, 4), torch.zeros(2, 6), OF)
)


def drawn(noise_as: str = "katz") -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    there = (torch.arange(28) < 9) | ((torch.arange(28) >= 18) & (torch.arange(28) < 22))
    noise = torch.randn(28, 3, generator=generator, dtype=torch.float64)
    return {
        "network": noise[:, 0] + there,
        noise_as: noise[:, 1].square() ** 2 * 50,
        "features": noise[:, 2] + 2 * there,
    }


def right(w: torch.Tensor, b: torch.Tensor, scores: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return what is minimised, pair by pair."""
    usual = scores["pagerank"][:18].mean()
    columns = [scores["network"], (1 + scores["pagerank"] / usual).log(), scores["features"]]
    s = sum(
        weight * (f - f[:18].mean()) / f[:18].std(correction=0)
        for weight, f in zip(w, columns, strict=True)
    )
    prior = torch.tensor([0.0, PRIOR["pagerank"], 0.0])
    total = PENALTY / 2 * ((w - prior) ** 2).sum()
    for k in range(9):
        total = total + (1 + (-s[k] - b).exp()).log() + (1 + (s[9 + k] + b).exp()).log()
    for k in range(4):
        rivals = [s[22 + j].exp() for j in range(6) if OF[j] == k]
        own = s[18 + k].exp()
        total = total - 9 / 4 * (own / (own + sum(rivals))).log()
    return total


def test_the_weights_minimise_the_formula():
    scores = drawn("pagerank")
    mixture = Mixture.fit(scores, TRIAL)
    w = mixture.weights.clone().requires_grad_()
    b = torch.tensor(mixture.bias, dtype=torch.float64, requires_grad=True)
    right(w, b, scores).backward()
    assert w.grad is not None
    assert b.grad is not None
    assert max(*w.grad.abs().tolist(), abs(b.grad.item())) < 1e-5


def test_its_answer_is_the_weighted_sum():
    scores = drawn()
    mixture = Mixture.fit(scores, TRIAL)
    f = torch.stack(
        [scores["network"], torch.log1p(scores["katz"] / scores["katz"][:18].mean()),
         scores["features"]], 1,
    )  # fmt: skip
    f = (f - f[:18].mean(0)) / f[:18].std(0, correction=0)
    torch.testing.assert_close(mixture.logits(scores), f @ mixture.weights + mixture.bias)


def test_it_ranks_better_than_each_of_two_halves_of_the_truth():
    scores = drawn()
    found = TRIAL.score(Mixture.fit(scores, TRIAL).logits(scores), 3)
    for one in scores.values():
        assert found["auc"] >= TRIAL.score(one, 3)["auc"]


def test_what_never_varies_keeps_the_weight_that_it_begins_with():
    scores = drawn("pagerank") | {"pagerank": torch.zeros(28), "network": torch.zeros(28)}
    mixture = Mixture.fit(scores, TRIAL)
    assert mixture.weights[:2].tolist() == [0.0, PRIOR["pagerank"]]
    assert mixture.logits(scores).isfinite().all()


def test_without_hard_pairs_the_rest_is_fitted():
    none = Trial(*TRIAL[:2], HardPairs(torch.zeros(2, 0), torch.zeros(2, 0), OF[:0]))
    scores = {name: found[:18] for name, found in drawn().items()}
    mixture = Mixture.fit(scores, none)
    assert math.isfinite(mixture.bias)
    assert mixture.logits(scores)[:9].mean().item() > mixture.logits(scores)[9:].mean().item()
