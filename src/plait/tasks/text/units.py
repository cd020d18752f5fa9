"""`plait inspect --units`: channels of the state that keep track of something in the text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plait.figures import label, picture
from plait.tasks.text.config import TextConfig
from plait.tasks.text.inference import splits_of
from plait.tasks.text.model import TextModel
from plait.tasks.text.structure import Structure, positions, structure_of

READ, STREAMS, SKIPPED = 20_000, 20, 100
"""Symbols of the test set that are read, side by side, and those of each stream's beginning that
are left out."""

TEXTS, LENGTH = 8, 1000
"""Texts that are generated to be measured, and their symbols."""

BETAS = (1.0, 2.0, math.inf)

ROW, ROWS = 84, 4
"""Characters of a row of the picture, and rows of a passage."""


@dataclass(frozen=True)
class Unit:
    """The channel that follows something best.

    Attributes
    ----------
    feature : str
        What it follows.
    state : str
        "h" or "c".
    layer, channel : int
        Both from 1.
    correlation : float
        On the half of the text that it was not chosen by.
    """

    feature: str
    state: str
    layer: int
    channel: int
    correlation: float

    def __str__(self) -> str:
        where = f"{self.state} of layer {self.layer}, channel {self.channel}"
        return f"{self.feature:<22}{where:<30}{self.correlation:+.2f}"


@dataclass(frozen=True)
class Units:
    """What states keep track of, and what generated text keeps of the training text's structure.

    Attributes
    ----------
    units : sequence of Unit
    written : mapping of Structure
        By how the texts were made; the last one is held out.
    length : int
        Symbols of each text.
    """

    units: Sequence[Unit]
    written: Mapping[str, Structure]
    length: int

    def __str__(self) -> str:
        lines = ["channels that keep track of the text: correlation on text not chosen by"]
        lines += [str(unit) for unit in self.units] or ["none: the text has nothing to track"]
        lines += [
            "",
            f"closed again, and the median distance, in texts of {self.length:,} symbols",
            f"{'':<16}{'brackets':<22}{'quotes':<22}{'names again':<14}dedents to open levels",
        ]
        for name, found in self.written.items():
            lines.append(
                f"{name:<16}{found.brackets!s:<22}{found.quotes!s:<22}{_share(found.names):<14}"
                f"{_share(found.indentation)}".rstrip()
            )
        return "\n".join(lines)


def _share(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.0%}"


def find_units(model: TextModel, config: TextConfig, facts: Mapping[str, Any], path: Path) -> Units:
    """Find the channels of the states that follow quotes, lines, brackets, … best.

    For each of these (`plait.tasks.text.structure.positions`) it is the channel, of all layers and
    states, whose correlation is largest in one half of the text; reported is the correlation in the
    other half (after Karpathy, Johnson & Fei-Fei 2015). Their values over a passage are drawn.
    Generated texts are measured too, next to held-out text, see `structure_of`.

    Parameters
    ----------
    model : TextModel
    config, facts
        Of its run folder; the configuration's seed decides what is drawn.
    path : Path
        The picture.

    Raises
    ------
    InputError
        When the training text is gone or has changed.
    """
    test = splits_of(model, config, facts).test
    streams = max(1, min(STREAMS, len(test) // (4 * SKIPPED)))
    length = min(READ, len(test)) // streams
    numbers = test[: length * streams].view(streams, length).T  # [T, B]
    states = read_all_states(model, numbers)  # by name [T, B, layers, H]
    pieces = list[list[str]]()
    for row in numbers.T.tolist():
        decode = model.vocabulary.decoder()
        pieces.append([decode(n) for n in row])
    features = _features(pieces)  # by name [T, B]
    skipped = min(SKIPPED, length // 2)
    half = (streams + 1) // 2
    chosen = (slice(skipped, None), slice(0, half))
    tested = (slice(skipped, None), slice(half, None)) if streams > 1 else chosen
    units = list[Unit]()
    for name, values in features.items():
        best = _best(values[chosen], {s: v[chosen] for s, v in states.items()})
        if best is None:
            continue
        state, layer, channel = best
        found = _correlations(values[tested], states[state][tested][:, :, layer, channel, None])
        if not math.isnan(found[0]):
            units.append(Unit(name, state, layer + 1, channel + 1, float(found[0])))
    if units:
        _draw(units, states, features, pieces, skipped, path)
    return Units(units, _written(model, config, test), min(LENGTH, len(test)))


@torch.no_grad()
def read_all_states(model: TextModel, numbers: Tensor) -> dict[str, np.ndarray]:
    """Return every state after every symbol of texts `[T, B]`, by name `[T, B, layers, H]`."""
    state: Any = None
    read = list[tuple[Tensor, ...]]()
    for symbols in numbers:
        _, state = model(symbols[None], state)
        read.append(state if isinstance(state, tuple) else (state,))
    names = model.recurrent.cell.states
    return {
        name: torch.stack([states[k] for states in read]).transpose(1, 2).float().cpu().numpy()
        for k, name in enumerate(names)
    }


def _features(pieces: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Return features `[T, B]` after the last character of each symbol."""
    rows = list[dict[str, np.ndarray]]()
    for stream in pieces:
        found = positions("".join(stream))
        ends = np.cumsum([len(piece) for piece in stream]) - 1
        rows.append({name: values[np.maximum(ends, 0)] for name, values in found.items()})
    return {name: np.stack([row[name] for row in rows], 1) for name in rows[0]}


def _best(values: np.ndarray, states: Mapping[str, np.ndarray]) -> tuple[str, int, int] | None:
    """Return the state, layer and channel of the largest correlation; None: there is none."""
    found = dict[tuple[str, int, int], float]()
    for name, state in states.items():
        for layer in range(state.shape[2]):
            r = np.abs(_correlations(values, state[:, :, layer]))
            if not np.isnan(r).all():
                channel = int(np.nanargmax(r))
                found[name, layer, channel] = float(r[channel])
    return max(found, key=lambda place: found[place]) if found else None


def _correlations(values: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of values `[T, B]` with channels `[T, B, C]`; NaN: constant."""
    x = values.reshape(-1) - values.mean()
    y = channels.reshape(-1, channels.shape[-1]).astype(np.float64)
    y = y - y.mean(0)
    norm = np.sqrt((x**2).sum() * (y**2).sum(0))
    return np.divide(x @ y, norm, out=np.full(y.shape[1], np.nan), where=norm > 1e-12)


def _written(model: TextModel, config: TextConfig, test: Tensor) -> dict[str, Structure]:
    """Measure what the model writes by several β, and as much of the held-out text."""
    length = min(LENGTH, len(test))
    found = dict[str, Structure]()
    for beta in BETAS:
        if math.isinf(beta):
            step = -(-len(model.vocabulary) // TEXTS)
            prompts = [model.vocabulary.decode([n]) for n in range(0, len(model.vocabulary), step)]
            texts = [model.generate(p, length, greedy=True) for p in prompts]
        else:
            texts = model.generate("", length, beta=beta, count=TEXTS, seed=config.seed)
        found["greedy" if math.isinf(beta) else f"β = {beta:g}"] = structure_of(texts)
    begins = range(0, max(1, len(test) - length + 1), max(1, (len(test) - length) // (TEXTS - 1)))
    stretches = [model.vocabulary.decode(test[b : b + length].tolist()) for b in begins]
    found["held-out text"] = structure_of(stretches[:TEXTS])
    return found


def _draw(
    units: Sequence[Unit],
    states: Mapping[str, np.ndarray],
    features: Mapping[str, np.ndarray],
    pieces: Sequence[Sequence[str]],
    skipped: int,
    path: Path,
) -> None:
    """Draw for each unit a passage of the text, coloured by its value."""
    height = 0.34 * ROWS
    with picture(path, 10, 0.9 + len(units) * (height + 0.45), grid=False) as figure:
        panels = figure.subplots(len(units), 1, squeeze=False)[:, 0]
        figure.suptitle("after each symbol: red, a positive state; blue, a negative one")
        for axes, unit in zip(panels, units, strict=True):
            values = states[unit.state][:, :, unit.layer - 1, unit.channel - 1]
            feature = features[unit.feature]
            stream, begin = _where_it_varies(feature, skipped)
            shown = slice(begin, begin + ROW * ROWS)
            value = values[shown, stream]
            scale = np.abs(values).max() or 1.0
            text, colours = "", np.full(ROW * ROWS, np.nan)
            for piece, v in zip(pieces[stream][shown], value, strict=True):
                colours[len(text) : len(text) + len(piece)] = v / scale
                text += piece
            extent = (0, ROW, -ROWS, 0)
            axes.imshow(
                colours.reshape(ROWS, ROW), cmap="coolwarm", vmin=-1, vmax=1, aspect="auto",
                extent=extent,
            )  # fmt: skip
            for k, c in enumerate(text[: ROW * ROWS]):
                row, column = divmod(k, ROW)
                axes.text(
                    column + 0.5, -row - 0.5, "↵" if c == "\n" else label(c), fontsize=8,
                    ha="center", va="center", family="monospace", parse_math=False,
                )  # fmt: skip
            axes.set_axis_off()
            where = f"{unit.state} of layer {unit.layer}, channel {unit.channel}"
            title = f"{unit.feature}: {where}, correlation {unit.correlation:+.2f}"
            axes.set_title(title, loc="left", fontsize=9)


def _where_it_varies(feature: np.ndarray, skipped: int) -> tuple[int, int]:
    """Return a stream of the second half and a place from which the feature changes most."""
    span, (length, streams) = ROW * ROWS, feature.shape
    begins = range(skipped, max(skipped + 1, length - span), span // 2)
    places = [(s, b) for s in range(streams // 2, streams) for b in begins]
    return max(places, key=lambda place: feature[place[1] : place[1] + span, place[0]].std())
