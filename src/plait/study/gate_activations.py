"""The gate activations of a trained LSTM, and its score with a gate held constant."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from plait.comparison.results import Result
from plait.figures import label
from plait.kernels.reference import Reference
from plait.nn.cell import Cell, RecurrentSide, State
from plait.study.runs import config_of, model_of, run_of
from plait.tasks.memory.inference import probe
from plait.tasks.memory.problems import problem_named
from plait.tasks.memory.scores import batches_to_test_on, score_batches
from plait.tasks.text.inference import splits_of
from plait.tasks.text.scores import score_stream

GATES = "ifgo"
LEVELS = (None, 0.0, 1.0)
"""Values at which a gate is held; None: its mean in each channel."""

SEQUENCE = 2000
"""Characters over which activations are recorded."""

SCORED, BATCHES = 16_384, 4
"""Validation characters, and batches of fresh strings, that are scored."""


class RecordingLSTM(Cell):
    """An LSTM that records its gate activations, and in which a gate can be held constant.

    `held` maps a gate to its constant value in every channel, `[H]`. `activations` is a list with
    an entry per step: i, f, g, o, `[4, B, H]`.
    """

    gates = "ifgo"
    states = ("h", "c")

    def __init__(self, held: Mapping[str, Tensor]) -> None:
        self.held = held
        self.activations: list[Tensor] = []

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Compute one step as the LSTM does."""
        h, c = state
        i, f, g, o = (x_gates + recurrent(h)).chunk(4, -1)
        found = {"i": i.sigmoid(), "f": f.sigmoid(), "g": g.tanh(), "o": o.sigmoid()}
        found |= {name: value.expand_as(c) for name, value in self.held.items()}
        i, f, g, o = found.values()
        self.activations.append(torch.stack([i, f, g, o]))
        c = f * c + i * g
        return o * c.tanh(), c


def recorded(
    model: nn.Module, held: Sequence[Mapping[str, Tensor]] = ()
) -> tuple[nn.Module, list[RecordingLSTM]]:
    """Return a copy of a model with recording layers; `held` has a mapping per layer."""
    model = copy.deepcopy(model).eval()
    recurrent: Any = model.recurrent
    cells = [RecordingLSTM(held[k] if held else {}) for k in range(recurrent.layers)]
    for direction, cell in zip(recurrent.directions, cells, strict=True):
        direction.cell = cell
    recurrent.cell, recurrent.kernels = cells[0], [Reference()]
    return model, cells


@dataclass(frozen=True)
class GateStatistics:
    """One gate's activations, over all layers, channels and steps; and scores with it held.

    `held` has a score for each of `LEVELS`.
    """

    mean: float
    deviation: float
    least: float
    largest: float
    held: Sequence[float]


@dataclass(frozen=True)
class GateMeasurement:
    """The gates of one network, and its score with none of them held."""

    score: float
    gates: Mapping[str, GateStatistics]


@torch.no_grad()
def measure_gates(model: nn.Module, score: Callable[[Any], float]) -> GateMeasurement:
    """Record the gates while a model is scored, then score it with each gate held."""
    free, cells = recorded(model)
    free_score = score(free)
    layers = [torch.cat([s.flatten(1, -2) for s in c.activations], 1) for c in cells]  # [4, n, H]
    pooled = torch.cat([layer.flatten(1) for layer in layers], 1)  # [4, n]
    found = {}
    for k, gate in enumerate(GATES):
        scores = []
        for level in LEVELS:
            held = [
                {gate: v[k].mean(0) if level is None else torch.full_like(v[k, 0], level)}
                for v in layers
            ]
            scores.append(score(recorded(model, held)[0]))
        v = pooled[k]
        found[gate] = GateStatistics(
            float(v.mean()), float(v.std()), float(v.min()), float(v.max()), scores
        )
    return GateMeasurement(free_score, found)


def measure_on_strings(result: Result) -> GateMeasurement:
    """Measure the gates of a network over fresh strings of its problem; scores: accuracy."""
    config: Any = config_of(result)
    problem = problem_named(config.problem, config.length)
    model = model_of(result)
    batches = list(islice(batches_to_test_on(model, problem, config), BATCHES))
    return measure_gates(model, lambda m: score_batches(m, problem, batches)["accuracy"])


def measure_on_book(result: Result) -> GateMeasurement:
    """Measure the gates of a network over its validation set; scores: bits per character."""
    model = model_of(result)
    _, validation, _ = splits_of(model, config_of(result), run_of(result).facts)
    return measure_gates(
        model, lambda m: score_stream(m, validation[:SCORED])["bits_per_character"]
    )


@torch.no_grad()
def along_string(result: Result) -> tuple[list[str], Tensor]:
    """Return the symbols of one string, and the gates along it, `[4, T, H]`."""
    model = model_of(result)
    x, _ = probe(model, config_of(result), run_of(result).facts)
    longest = int((x > 0).sum(0).argmax())
    free, cells = recorded(model)
    free(x[:, longest : longest + 1])
    symbols = ["·01"[token] for token in x[:, longest]]
    return symbols, torch.stack(cells[-1].activations, 1)[:, :, 0]


@torch.no_grad()
def along_text(result: Result) -> tuple[list[str], Tensor]:
    """Return characters of the validation set, and the last layer's gates, `[4, T, H]`."""
    model = model_of(result)
    _, validation, _ = splits_of(model, config_of(result), run_of(result).facts)
    free, cells = recorded(model)
    free(validation[:SEQUENCE, None])
    letters = model.vocabulary.decode(validation[:SEQUENCE].tolist())
    symbols = [label(c) or "␣" for c in letters]
    return symbols, torch.stack(cells[-1].activations, 1)[:, :, 0]


def word_gaps(letters: Sequence[str], forget: Sequence[float]) -> list[tuple[float, float]]:
    """Return the forget gate at each space after a word, and its mean over that word.

    >>> from plait.study.gate_activations import word_gaps
    >>> word_gaps("of␣␣a␣", [0.6, 0.8, 0.2, 0.3, 0.5, 0.4])
    [(0.2, 0.7), (0.4, 0.5)]
    """
    found, word = [], list[float]()
    for letter, value in zip(letters, forget, strict=True):
        if letter != "␣":
            word.append(value)
        elif word:
            found.append((value, fmean(word)))
            word = []
    return found
