"""How well a model predicts a text that it has not seen."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.nn.forms import as_tuple
from plait.tasks.text.model import TextModel
from plait.tasks.text.vocabulary import BytePairs, Bytes, Characters, Vocabulary
from plait.tasks.text.words import UNKNOWN, Words
from plait.training.ranks import current_ranks

LANES = 32
WARM_UP = 256
CHUNK = 256
BLOCK = 2**22
"""Symbols that are looked at at once, of a text of any length."""

LOGITS = 2**22
"""Logits that are computed at once, where the vocabulary is large."""


@torch.no_grad()
def score_stream(model: TextModel, numbers: Tensor) -> dict[str, float]:
    """Score every character of a text but the first, with the state carried along.

    The text is read in up to 32 lanes side by side; every lane but the first has read the 256
    characters before its own without being scored, so each character is predicted from at least
    256 before it, or from all there are.

    Parameters
    ----------
    model : TextModel
        In evaluation mode.
    numbers : Tensor `[n]`
        At least two characters.

    Returns
    -------
    dict
        `loss` (nats per symbol, −1/n Σ ln p), `bits_per_character` (−Σ log2 p over the number of
        characters, for bytes too; not for words, of which those unknown are all `<unk>`),
        `perplexity` (e^loss), `accuracy` (share of symbols where the likeliest one is right).
    """
    starts, stretch = _lanes(numbers)
    ranks = current_ranks()
    found = ranks.map(
        lambda some: _score_lanes(model, numbers, some, stretch), starts.chunk(ranks.count)
    )
    nats, right = (torch.stack(part).sum().item() for part in zip(*found, strict=True))
    predictions = len(numbers) - 1
    loss = nats / predictions
    return {
        "loss": loss,
        **in_reported_units(model.vocabulary, loss, numbers),
        "perplexity": perplexity(loss),
        "accuracy": right / predictions,
    }


@torch.no_grad()
def log_probabilities(model: TextModel, numbers: Tensor) -> Tensor:
    """Return ln p of every symbol of a text but the first, `[n − 1]` in float64.

    The text is read as by `score_stream`, whose loss is the mean of these, negated.
    """
    log_p = torch.zeros(len(numbers) - 1, dtype=torch.float64, device=numbers.device)
    for places, logits, targets in _read_lanes(model, numbers, *_lanes(numbers)):
        log_p[places] = -F.cross_entropy(logits, targets, reduction="none").double()
    return log_p


def _lanes(numbers: Tensor) -> tuple[Tensor, int]:
    """Return where each lane of a text begins, and the length of all of them."""
    predictions = len(numbers) - 1
    lanes = max(1, min(LANES, predictions // WARM_UP))
    stretch = math.ceil(predictions / lanes)
    lanes = math.ceil(predictions / stretch)
    return torch.arange(lanes, device=numbers.device) * stretch, stretch  # [L]


def _score_lanes(
    model: TextModel, numbers: Tensor, starts: Tensor, stretch: int
) -> tuple[Tensor, Tensor]:
    """Return the nats of some lanes, and in how many places the likeliest symbol is right."""
    nats = torch.zeros((), dtype=torch.float64, device=numbers.device)
    right = torch.zeros((), dtype=torch.long, device=numbers.device)
    for _, logits, targets in _read_lanes(model, numbers, starts, stretch):
        nats += F.cross_entropy(logits, targets, reduction="none").double().sum()
        right += (logits.argmax(-1) == targets).sum()
    return nats, right


def _read_lanes(
    model: TextModel, numbers: Tensor, starts: Tensor, stretch: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield places `[n]` in some lanes, the logits `[n, V]` after them, and the symbols there.

    Every place occurs once, but for the last of the text.
    """
    predictions = len(numbers) - 1
    lanes, _ = _lanes(numbers)
    chunk = max(1, min(CHUNK, LOGITS // (len(lanes) * len(model.vocabulary))))
    warmed = starts[starts > 0]
    state = None
    if len(warmed):
        before = torch.arange(-WARM_UP, 0, device=numbers.device)[:, None]
        warm: Any = None
        for piece in numbers[before + warmed].split(chunk):  # [WARM_UP, L], or one lane fewer
            _, warm = model(piece, warm)
        first = len(starts) - len(warmed)
        state = tuple(F.pad(s, (0, 0, first, 0)) for s in as_tuple(warm))  # lane 0 starts from zero
    for begin in range(0, stretch, chunk):
        steps = torch.arange(begin, min(begin + chunk, stretch), device=numbers.device)
        places = steps[:, None] + starts  # [T, L]
        scored = places < predictions  # the last lane may end early
        places = places.clamp(max=predictions - 1)
        logits, state = model(numbers[places], state)
        places = places[scored]
        yield places, logits[scored], numbers[places + 1]


def in_reported_units(vocabulary: Vocabulary, loss: float, numbers: Tensor) -> dict[str, float]:
    """Return a loss on a text, in nats per symbol, as bits per character; of words the perplexity.

    >>> import math, torch
    >>> from plait.tasks.text.scores import in_reported_units
    >>> from plait.tasks.text.vocabulary import Characters
    >>> in_reported_units(Characters("ab"), math.log(2), torch.tensor([0, 1]))
    {'bits_per_character': 1.0}
    """
    if isinstance(vocabulary, Words):
        return {"perplexity": perplexity(loss)}
    return {"bits_per_character": loss / math.log(2) * symbols_per_character(vocabulary, numbers)}


def unknown_share(vocabulary: Vocabulary, numbers: Tensor) -> dict[str, float]:
    """Return the share of a text's words that are `<unk>`; of characters and bytes none is."""
    if not isinstance(vocabulary, Words):
        return {}
    unknown = sum(
        int((part == vocabulary.number(UNKNOWN)).sum()) for part in numbers[1:].split(BLOCK)
    )
    return {"unknown_share": unknown / (len(numbers) - 1)}


def perplexity(loss: float) -> float:
    """Return e^loss, as far as it is a number that JSON can hold."""
    return math.exp(min(loss, 700))


def symbols_per_character(vocabulary: Characters | Bytes | BytePairs, numbers: Tensor) -> float:
    """Return the mean number of symbols of a character of this text; of characters 1."""
    characters = vocabulary.count_characters(numbers[1:].cpu().numpy())
    return (len(numbers) - 1) / max(characters, 1)
