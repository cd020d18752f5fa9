"""The mixture of a network's answer with those of spreading and linear models."""

import pytest
import torch

from plait.graph_data import named_labelled_graph
from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.mixture import (
    calibrated,
    choose_mixture,
    log_likelihood,
    mixed,
    smoothed,
    to_probabilities,
)
from plait.tasks.nodes.spreading import correct_and_smooth
from plait.tasks.nodes.task import NodesTask

CPU = torch.device("cpu")


def drawn(count: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {f"m{k}": torch.rand(50, 3, generator=generator).softmax(1) for k in range(count)}


def penalised(candidates, labels, valid, weights) -> float:
    """Compute what choose_mixture minimises, from its formula."""
    w = list(weights.values())
    pull = 4 * sum((one - 1 / len(w)) ** 2 for one in w)
    return pull - len(valid) * log_likelihood(mixed(candidates, weights).exp(), labels, valid)


def test_weights_are_the_best_of_the_formula():
    candidates, labels, valid = drawn(4), torch.arange(50) % 3, torch.arange(30)
    found = choose_mixture(candidates, labels, valid)
    least = penalised(candidates, labels, valid, found)
    generator = torch.Generator().manual_seed(1)
    for _ in range(30):
        off = 0.02 * torch.randn(4, generator=generator)
        other = {
            name: max(0.0, w + float(o)) for (name, w), o in zip(found.items(), off, strict=True)
        }
        assert penalised(candidates, labels, valid, other) >= least - 1e-6
    alone = {name: {other: float(other == name) for other in found} for name in found}
    assert all(penalised(candidates, labels, valid, w) > least for w in alone.values())


def test_many_nodes_choose_the_one_that_knows_and_few_leave_equal_weights():
    generator = torch.Generator().manual_seed(0)
    knows, chance = torch.randn(2, 4000, 3, generator=generator).softmax(2)
    labels = torch.multinomial(knows, 1, generator=generator)[:, 0]
    candidates = {"chance": chance, "knows": knows}
    many = choose_mixture(candidates, labels, torch.arange(4000))
    assert many["chance"] < 0.05
    assert many["knows"] > 0.95
    few = choose_mixture(candidates, labels, torch.arange(2))
    assert few["chance"] == pytest.approx(0.5, abs=0.2)


def test_a_candidate_that_rules_a_class_out_is_not_alone_in_it():
    sure, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.1, 0.9]])
    p = mixed({"a": sure, "b": other}, {"a": 0.5, "b": 0.5}).exp()
    root = (0.1**0.5, 0.9**0.5 * 1e-3)
    assert p[0, 1].item() == pytest.approx(root[1] / sum(root), rel=1e-3)


def test_other_nodes_decide_nothing():
    candidates, labels, valid = drawn(4), torch.arange(50) % 3, torch.arange(30)
    others = {name: torch.cat([p[:30], p[30:].flip(1)]) for name, p in candidates.items()}
    assert choose_mixture(candidates, labels, valid) == choose_mixture(others, labels % 3, valid)


def test_equals_have_equal_weights():
    p = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    a, b = choose_mixture({"a": p, "b": p}, torch.arange(50) % 3, torch.arange(50)).values()
    assert a == pytest.approx(b, abs=1e-6)


def test_few_nodes_all_right_do_not_make_a_candidate_certain():
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).repeat(4, 1)
    found = calibrated(p, torch.tensor([0, 1] * 4), torch.arange(6))
    assert 0.9 < found[0, 0] < 0.99


def test_smoothing_is_correct_and_smooth_of_the_networks_probabilities():
    karate = named_labelled_graph("karate")
    p = torch.rand(34, 2, generator=torch.Generator().manual_seed(0)).softmax(1)
    found = smoothed(p, karate.graph, karate.labels, karate.split)
    expected = correct_and_smooth(karate.graph, p, karate.labels, karate.split.train, 0.8)
    assert torch.equal(found["network smoothed by 0.8"], to_probabilities(expected))


@pytest.fixture(scope="module")
def digits() -> NodesTask:
    task = NodesTask(NodesConfig(data="digits", hidden_size=4, threads=1), CPU)
    task.model.eval()
    return task


def test_an_untrained_network_answers_as_well_as_its_baselines(digits):
    """What is printed and predicted is the mixture; the network alone is at the level of chance."""
    labels, valid = digits.labels, digits.splits.valid
    with torch.no_grad():
        scores, answers = digits.own_scores(), digits.answers()
    alone = {name: calibrated(to_probabilities(z), labels, valid) for name, z in
             digits._simple.items()}  # fmt: skip
    best = max(log_likelihood(p, labels, valid) for p in alone.values())
    assert log_likelihood(answers.exp(), labels, valid) > best
    right = {name: z[digits.splits.test].argmax(1) for name, z in alone.items()}
    accuracy = max((p == labels[digits.splits.test]).double().mean() for p in right.values())
    assert scores["network_accuracy"] < 0.5 < scores["accuracy"]
    assert scores["accuracy"] > accuracy - 0.01
    text = digits.interpret({**scores, **digits.baselines()})
    assert ", by validation; the network alone: " in text


def test_probabilities_of_the_answer_sum_to_one(digits):
    total = digits.answers().exp().sum(1)
    torch.testing.assert_close(total, torch.ones(1797).double(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("options", [{"smooth": False}, {"operator": "dense"}])
def test_the_network_alone_where_it_is_asked_for(options):
    task = NodesTask(NodesConfig(data="digits", hidden_size=4, threads=1, **options), CPU)
    assert task.facts()["mixture"] is False
    task.model.eval()
    with torch.no_grad():
        assert torch.equal(task.answers(), task.logits().double().log_softmax(-1))
        assert "network_accuracy" not in task.own_scores()


def test_a_run_of_the_first_version_answers_by_its_network(digits):
    facts = {k: v for k, v in digits.facts().items() if k not in ("mixture", "features_as")}
    old = NodesTask.restore(digits.model, NodesConfig(data="digits", hidden_size=4), facts)
    assert not old.mixes
    assert old.features_as == "as-read"
