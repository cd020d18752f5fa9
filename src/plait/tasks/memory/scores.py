"""How well a network answers, on sequences drawn for nothing else."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.tasks.memory.config import MemoryConfig
from plait.tasks.memory.model import MemoryModel
from plait.tasks.memory.problems import Adding, Problem, problem_named
from plait.training.streams import random_generator

TRAINING, VALIDATION, TEST, PROBE = 0, 1, 2, 3
"""Streams of random numbers, which never meet."""

VALIDATION_BATCHES, TEST_BATCHES = 10, 20


def draw(
    problem: Problem, seed: int, number: int, stream: int, count: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return sequences `[T, B]` (reals: `[T, B, F]`) and answers `[B]` of a batch, by its number.

    >>> import torch
    >>> from plait.tasks.memory.problems import Recall
    >>> from plait.tasks.memory.scores import TEST, draw
    >>> x, y = draw(Recall(3), 0, 1, TEST, 4, torch.device("cpu"))
    >>> torch.equal(x[0], y)
    True
    """
    x, y = problem.draw(random_generator(seed, number, stream), count)
    return torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)


def loss_of(problem: Problem, answer: Tensor, y: Tensor) -> Tensor:
    """Return mean nats, −log p(y), or the mean squared error where the answer is a number."""
    return F.cross_entropy(answer, y) if problem.classes else F.mse_loss(answer, y)


def right(problem: Problem, answer: Tensor, y: Tensor) -> Tensor:
    """Return which answers are right, `[B]`: the likeliest class, or a number within 0.04."""
    if problem.classes:
        return answer.argmax(-1) == y
    return (answer - y).abs() < Adding.WITHIN


@torch.no_grad()
def score_batches(
    model: MemoryModel, problem: Problem, batches: Iterable[tuple[Tensor, Tensor]]
) -> dict[str, float]:
    """Score a model, in evaluation mode, on batches.

    Returns
    -------
    dict
        `loss` (nats, or squared error), `accuracy`, `balanced_accuracy` (the mean over the classes
        that occur of each one's accuracy), and those of always giving the likeliest answer:
        `prior`, an accuracy, and `loss_prior`.
    """
    loss, count = 0.0, 0
    tally = torch.zeros(2, max(problem.classes, 1), dtype=torch.long)  # right, and all, by class
    for x, y in batches:
        answer = model(x)
        loss += loss_of(problem, answer, y).item() * len(y)
        count += len(y)
        of = y.cpu() if problem.classes else torch.zeros(len(y), dtype=torch.long)
        hits = right(problem, answer, y).cpu()
        tally += torch.stack([torch.bincount(c, minlength=tally.shape[1]) for c in (of[hits], of)])
    scores = {"loss": loss / count, "accuracy": tally[0].sum().item() / count}
    if problem.classes:
        met = tally[1] > 0
        scores["balanced_accuracy"] = (tally[0][met] / tally[1][met]).mean().item()
    return {**scores, "prior": problem.prior, "loss_prior": problem.loss_prior}


def score_lengths(
    model: MemoryModel, config: MemoryConfig, lengths: Iterable[int]
) -> dict[str, float]:
    """Score a model on the test streams of other lengths, each with its own prior."""
    scores = {}
    for length in lengths:
        problem = problem_named(config.problem, length)
        of_length = score_batches(model, problem, batches_to_test_on(model, problem, config))
        scores |= {f"{name}_at_{length}": of_length[name] for name in ("accuracy", "prior")}
    return scores


def batches_to_test_on(
    model: MemoryModel, problem: Problem, config: MemoryConfig
) -> Iterable[tuple[Tensor, Tensor]]:
    """Yield the batches of the stream on which a run is tested."""
    device = model.output.weight.device
    for number in range(1, TEST_BATCHES + 1):
        yield draw(problem, config.seed, number, TEST, config.batch_size, device)
