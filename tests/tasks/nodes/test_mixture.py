"""The mixture of a network's answer with those of spreading and linear models."""

import pytest
import torch

from plait.graph_data import named_labelled_graph
from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.mixture import choose_mixture, smoothed, to_probabilities
from plait.tasks.nodes.spreading import correct_and_smooth
from plait.tasks.nodes.task import NodesTask

CPU = torch.device("cpu")


def drawn(count: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {f"m{k}": torch.rand(50, 3, generator=generator).softmax(1) for k in range(count)}


def test_a_mixture_is_never_worse_on_validation_than_any_candidate():
    candidates, labels, valid = drawn(6), torch.arange(50) % 3, torch.arange(30)
    weights = choose_mixture(candidates, labels, valid)
    assert sum(weights.values()) == pytest.approx(1)
    mixed = sum(w * candidates[name] for name, w in weights.items())

    def right(p: torch.Tensor) -> int:
        return int((p[valid].argmax(1) == labels[valid]).sum())

    assert right(mixed) >= max(map(right, candidates.values()))


def test_other_nodes_decide_nothing():
    candidates, labels, valid = drawn(4), torch.arange(50) % 3, torch.arange(30)
    others = {name: torch.cat([p[:30], p[30:].flip(1)]) for name, p in candidates.items()}
    assert choose_mixture(candidates, labels, valid) == choose_mixture(others, labels % 3, valid)


def test_of_equals_the_first_is_taken():
    p = torch.eye(3)[torch.arange(50) % 3].double()
    assert choose_mixture({"a": p, "b": p}, torch.arange(50) % 3, torch.arange(50)) == {"a": 1.0}


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


def test_an_untrained_network_answers_at_least_as_its_baselines_on_validation(digits):
    """What is printed and predicted is the mixture; the network alone is at the level of chance."""
    with torch.no_grad():
        scores, valid = digits.own_scores(), digits.splits.valid
        right = digits.answers()[valid].argmax(1) == digits.labels[valid]
    best = max(
        (z[valid].argmax(1) == digits.labels[valid]).double().mean()
        for z in digits._simple.values()
    )
    assert right.double().mean() >= best
    assert scores["network_accuracy"] < 0.5 < scores["accuracy"]
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
