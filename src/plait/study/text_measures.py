"""What a text network writes at different sharpness: entropy, known words, repetition."""

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plait.comparison.results import Result
from plait.study.runs import config_of, model_of, run_of
from plait.tasks.text.inference import splits_of
from plait.tasks.text.model import TextModel
from plait.tasks.text.repetition import BETAS, SPAN, Repetition, measure_repetition

ENTROPY_LENGTH = 2000
"""Held-out characters over which the entropy of sampling is averaged."""


@dataclass(frozen=True)
class SampledTexts:
    """What the networks of several seeds write, their texts together.

    Attributes
    ----------
    entropy : mapping of float
        By β, the mean entropy of the next character's distribution, in bits.
    repetition : Repetition
        By β, each text's share of repeated pieces; and that of held-out text.
    known : mapping of sequences
        By β, each text's share of words that the training text has.
    first_repeats : sequence of int
        Characters of each greedy text before its first repeated piece.
    symbols : int
        Size of the vocabulary.
    """

    entropy: Mapping[float, float]
    repetition: Repetition
    known: Mapping[float, Sequence[float]]
    first_repeats: Sequence[int]
    symbols: int


def measure_samples(results: Sequence[Result], texts: int, length: int) -> SampledTexts:
    """Measure what the networks of these runs write: for every β, `texts` texts each."""
    every = [_measure(result, texts, length) for result in results]
    first = every[0]
    return SampledTexts(
        {b: statistics.fmean(one.entropy[b] for one in every) for b in first.entropy},
        Repetition(
            first.repetition.length,
            {b: [v for one in every for v in one.repetition.written[b]] for b in BETAS},
            first.repetition.heldout,
        ),
        {b: [v for one in every for v in one.known[b]] for b in BETAS},
        [v for one in every for v in one.first_repeats],
        first.symbols,
    )


def _measure(result: Result, texts: int, length: int) -> SampledTexts:
    model, config, facts = model_of(result), config_of(result), run_of(result).facts
    training, validation, _ = splits_of(model, config, facts)
    known = set(words_of(model.vocabulary.decode(training.tolist())))
    written = {beta: _write(model, beta, texts, length, config.seed) for beta in BETAS}
    return SampledTexts(
        {b: sampling_entropy(model, validation[:ENTROPY_LENGTH], b) for b in (0.0, *BETAS)},
        measure_repetition(model, config, facts, texts=texts, length=length),
        {b: [known_share(text, known) for text in of_beta] for b, of_beta in written.items()},
        [first_repeat(text) for text in written[math.inf]],
        len(model.vocabulary),
    )


def _write(model: TextModel, beta: float, texts: int, length: int, seed: int) -> list[str]:
    """Generate texts; greedy ones, which would all be equal, start with different characters."""
    if math.isinf(beta):
        symbols = len(model.vocabulary)
        prompts = [model.vocabulary.decode([k * symbols // texts]) for k in range(texts)]
        return [model.generate(p, length, greedy=True) for p in prompts]
    return model.generate("", length, beta=beta, count=texts, seed=seed)


@torch.no_grad()
def sampling_entropy(model: TextModel, numbers: Tensor, beta: float) -> float:
    """Return the mean entropy, in bits, of softmax(β · logits) after each of these characters."""
    if math.isinf(beta):
        return 0.0
    logits, _ = model(numbers[:, None])
    log_p = (beta * logits.double()).log_softmax(-1)
    return float(-(log_p.exp() * log_p).sum(-1).mean()) / math.log(2)


def first_repeat(text: str) -> int:
    """Return where a piece of ten characters first comes a second time, or the text's length.

    >>> from plait.study.text_measures import first_repeat
    >>> first_repeat("the same, the same, the same"), first_repeat("no piece twice")
    (10, 14)
    """
    seen: set[str] = set()
    for k in range(len(text) - SPAN + 1):
        if text[k : k + SPAN] in seen:
            return k
        seen.add(text[k : k + SPAN])
    return len(text)


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case.

    >>> from plait.study.text_measures import words_of
    >>> words_of("The King’s son, 3 days old.")
    ['the', 'king', 's', 'son', 'days', 'old']
    """
    return re.findall(r"[^\W\d_]+", text.lower())


def known_share(text: str, known: set[str]) -> float:
    """Return the share of a text's words that are in `known`; 0 for a text without words.

    >>> from plait.study.text_measures import known_share
    >>> known_share("The king, the knig", {"the", "king"}), known_share("%)", {"the"})
    (0.75, 0.0)
    """
    words = words_of(text)
    return statistics.fmean(word in known for word in words) if words else 0.0


def licence_share(text: str) -> float:
    """Return the share of a text that is Project Gutenberg's licence at its end.

    >>> from plait.study.text_measures import licence_share
    >>> licence_share("The end. *** END OF THE PROJECT … ")
    0.7352941176470589
    >>> licence_share("The end.")
    0.0
    """
    place = text.upper().find("*** END OF TH")
    return 0.0 if place < 0 else 1 - place / len(text)


def heldout_licence(result: Result) -> float:
    """Return the share of a run's test set that is Project Gutenberg's licence."""
    model: Any = model_of(result)
    _, _, testing = splits_of(model, config_of(result), run_of(result).facts)
    return licence_share(model.vocabulary.decode(testing.tolist()))
