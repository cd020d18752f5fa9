"""Section 2: what each gate of a trained LSTM does, and how many parameters an LSTM has."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from plait.comparison.results import Result
from plait.diagnostics import count_parameters
from plait.study.gate_activations import (
    GateMeasurement,
    along_string,
    along_text,
    measure_on_book,
    measure_on_strings,
    word_gaps,
)
from plait.study.page import (
    Block,
    Number,
    Paragraph,
    Picture,
    Table,
    difference_of,
    drawing,
    mean_of,
)
from plait.study.runs import FinishedRuns, RunRequest, config_of, model_of, source_of
from plait.study.sections import memory, text
from plait.study.verdicts import Finding, below_zero, finding, unanimous, verdict_of

TITLE = "What the gates of an LSTM do"
REPORT_CLAIM = """The input modulation gate g adds new information; its tanh is centred around zero.
The input gate i controls how much of it is remembered, the forget gate f how much is forgotten, the
output gate o how much of the cell state is shown, each between 0 and 1. The cell has
4·H + 4·F·H + 4·H·H parameters, the output layer H·O + O."""

NAMES = {"i": "input gate i", "f": "forget gate f", "g": "input modulation g", "o": "output gate o"}
PUBLISHED = {"strings": "266,763", "book": "285,780"}
"""Total parameters of the report's networks; of the book's with torch's two biases per gate."""

SHOWN, READ = 24, 50
"""Channels and characters that are drawn."""

CENTRED = 0.1
"""A mean below this share of the standard deviation counts as zero."""

Measured = Mapping[str, Sequence[GateMeasurement]]
"""By network, "strings" or "book", a measurement for every seed."""

Sources = Mapping[str, Sequence[str]]
"""By network, the links to its runs."""


def required_runs(size: Mapping[str, Any]) -> dict[str, RunRequest]:
    """Request the longest strings' LSTM of section 3, and the network of section 4."""
    strings = memory.required_runs(size["memory"])["grid"]
    vary = {"cell": ("lstm-course",), "length": (max(size["memory"]["lengths"]),)}
    return {
        "strings": replace(strings, vary=vary),
        "book": text.required_runs(size["text"])["runs"],
    }


def render(
    runs: Mapping[str, FinishedRuns], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Finding]]:
    """Show the gates along a string and a sentence, the scores with one held, and the counts."""
    measured = {
        "strings": [measure_on_strings(r) for r in runs["strings"].results],
        "book": [measure_on_book(r) for r in runs["book"].results],
    }
    sources = {key: [source_of(r) for r in one.results] for key, one in runs.items()}
    strings, book = runs["strings"].results[0], runs["book"].results[0]
    counts = {
        "strings": parameter_rows(strings, 2, PUBLISHED["strings"]),
        "book": parameter_rows(book, 0, PUBLISHED["book"]),
    }
    along = [along_text(r) for r in runs["book"].results]
    gaps = [
        gap
        for letters, gates in along
        for gap in word_gaps(letters, gates["ifgo".index("f")].mean(1).tolist())
    ]
    return blocks(measured, sources, counts, along_string(strings), along[0]), [
        *findings(measured, counts, sources),
        gap_finding(gaps, sources["book"]),
    ]


def blocks(
    measured: Measured,
    sources: Sources,
    counts: Mapping[str, Sequence[Sequence[Any]]],
    string: tuple[Sequence[str], Tensor],
    sentence: tuple[Sequence[str], Tensor],
) -> Sequence[Block]:
    """Return the pictures and the tables."""
    letters, along = sentence
    begin = letters.index("␣", len(letters) - READ - 12) + 1  # at a word
    shown = slice(begin, begin + READ)
    return [
        Paragraph(
            "The gate activations of two trained LSTMs: the network of section 3, which reads "
            "Baum–Sweet strings, and the network of section 4, which reads a book."
        ),
        Picture(
            "2-string",
            "Gate activations along a Baum–Sweet string, in reading order (· is padding), for the "
            f"{SHOWN} channels of each gate that vary most. Darker blue: closer to 1. For g, red "
            "is positive and blue negative.",
            drawing(9.5, 5.4, lambda figure: _draw(figure, *string)),
        ),
        Picture(
            "2-sentence",
            "Gate activations of the last layer along text of the validation set. Channels are "
            "sorted separately for each gate: rows of different gates do not correspond.",
            drawing(9.5, 5.4, lambda figure: _draw(figure, letters[shown], along[:, shown])),
        ),
        Table(
            "2-gates",
            "Gate activations over fresh strings and over the book’s validation set.",
            ["gate", "mean", "standard deviation", "minimum", "maximum"],
            [_statistics_row(key, gate, measured[key], sources[key])
             for key in measured for gate in NAMES],
        ),
        Table(
            "2-held",
            "The score when one gate is held constant: at its mean in each channel, at 0, at 1. "
            "Strings: accuracy. Book: bits per character.",
            ["gate", "not held", "at its mean", "at 0", "at 1"],
            [_held_row(key, gate, measured[key], sources[key])
             for key in measured for gate in NAMES],
        ),
        *(Table(
            f"2-parameters-{key}",
            f"Parameters of the LSTM {what}: the report’s formula, and the count. The formula "
            f"is for one layer, without the embedding. {note}",
            ["term", "formula", "value of the formula", "counted", "at the report’s sizes"],
            counts[key],
            published=[4],
        ) for key, what, note in (
            ("strings", "for strings", ""),
            ("book", "for the book", "The report’s network is torch’s, with two biases per gate "
             "instead of one: 1,024 more."),
        )),
    ]  # fmt: skip


def findings(
    measured: Measured, counts: Mapping[str, Sequence[Sequence[Any]]], sources: Sources
) -> list[Finding]:
    """Return whether formula, range and centre are as the report says; what each gate is for."""
    same = all(
        row[2] == row[3].value for rows in counts.values() for row in rows if row[2] is not None
    )
    everywhere = [one for of in measured.values() for one in of]
    every_source = [s for of in sources.values() for s in of]
    sigmoids = [s for one in everywhere for name, s in one.gates.items() if name != "g"]
    book, source = measured["book"], sources["book"]
    g = [one.gates["g"] for one in book]
    centred = unanimous(abs(s.mean) < CENTRED * s.deviation for s in g)
    free = mean_of([one.score for one in book], ".3f", source)
    held = {
        name: [mean_of([one.gates[name].held[k] for one in book], ".3f", source) for k in range(3)]
        for name in NAMES
    }
    cost = {name: fmean(one.gates[name].held[0] - one.score for one in book) for name in NAMES}
    most = max(cost, key=lambda name: cost[name])
    free_of_cost = [NAMES[name] for name in NAMES if cost[name] <= 0]
    return [
        finding(
            verdict_of(same),
            "The formula gives the counted parameters, term by term." if same
            else "The formula does not give the counted parameters.",
        ),
        finding(
            verdict_of(all(s.least >= 0 and s.largest <= 1 for s in sigmoids)),
            "i, f and o lie between {} and {}.",
            Number(min(s.least for s in sigmoids), ".2f", every_source),
            Number(max(s.largest for s in sigmoids), ".2f", every_source),
        ),
        finding(
            verdict_of(centred),
            {True: "g is centred around zero: its mean is {}, its standard deviation {}.",
             False: "g is not centred around zero: its mean is {}, its standard deviation {}.",
             None: "g is centred around zero with some seeds only: its mean is {}, its standard "
                   "deviation {}."}[centred],
            mean_of([s.mean for s in g], ".2f", source),
            mean_of([s.deviation for s in g], ".2f", source),
        ),
        finding(
            "measured",
            "Holding a gate at its mean raises the bits per character of the book’s network, the "
            "{} most: {} instead of {}." if not free_of_cost else
            "Holding the {} at its mean raises the bits per character of the book’s network most: "
            f"{{}} instead of {{}}; holding the {' or the '.join(free_of_cost)} costs nothing.",
            NAMES[most], held[most][0], free,
        ),
        finding(
            "measured",
            "With the forget gate held at 0, which forgets everything, a character costs {} bits; "
            "at 1, which forgets nothing, {}; not held, {}.",
            held["f"][1], held["f"][2], free,
        ),
    ]  # fmt: skip


def gap_finding(found: Sequence[tuple[float, float]], sources: Sequence[str]) -> Finding:
    """Compare the forget gate at each space with its mean over the word before."""
    differences = [at_space - in_word for at_space, in_word in found]
    does = {
        True: "closes somewhat", False: "opens somewhat", None: "is as open as within words",
    }  # fmt: skip
    at_space, in_word = (
        Number(fmean(values), ".2f", sources) for values in zip(*found, strict=True)
    )
    return finding(
        "measured",
        "Between two words the forget gate {}: its mean is {} at spaces and {} in the words before "
        "them; the difference over {} spaces is {}.",
        does[below_zero(differences)], at_space, in_word, len(found),
        difference_of(differences, "+.3f", sources),
    )  # fmt: skip


def _statistics_row(
    key: str, gate: str, measured: Sequence[GateMeasurement], sources: Sequence[str]
) -> list[Any]:
    gates = [one.gates[gate] for one in measured]
    return [
        f"{key}: {NAMES[gate]}",
        mean_of([s.mean for s in gates], ".2f", sources),
        mean_of([s.deviation for s in gates], ".2f", sources),
        Number(min(s.least for s in gates), ".2f", sources),
        Number(max(s.largest for s in gates), ".2f", sources),
    ]


def _held_row(
    key: str, gate: str, measured: Sequence[GateMeasurement], sources: Sequence[str]
) -> list[Any]:
    gates = [one.gates[gate] for one in measured]
    form = {"strings": ".1%", "book": ".3f"}[key]
    return [
        f"{key}: {NAMES[gate]}",
        mean_of([one.score for one in measured], form, sources),
        *(mean_of([s.held[k] for s in gates], form, sources) for k in range(3)),
    ]


def parameter_rows(result: Result, classes: int, published: str) -> list[list[Any]]:
    """Return each term of the report's formula with what is counted."""
    model, config, source = model_of(result), config_of(result), source_of(result)
    counted = {term.name: term.count for term in count_parameters(model).terms}
    H, O = config.hidden_size, classes or len(model.vocabulary)  # noqa: E741
    rows: list[list[Any]] = []
    by_formula = 0
    for layer in range(config.layers):
        F = H if layer else config.embedding_size
        name = f"recurrent layer {layer}"
        for part, term, value in (
            ("biases", "4·H", 4 * H), ("input–hidden", "4·F·H", 4 * F * H),
            ("hidden–hidden", "4·H·H", 4 * H * H),
        ):  # fmt: skip
            number = Number(counted.pop(f"{name}, {part}"), ",d", [source])
            rows.append([f"layer {layer}, {part}", term, value, number])
            by_formula += value
    output = counted.pop("output.weight") + counted.pop("output.bias")
    rows.append(["output", "H·O + O", H * O + O, Number(output, ",d", [source])])
    together = Number(sum(row[3].value for row in rows), ",d", [source])
    rows.append(["sum", "", by_formula + H * O + O, together])
    rows += [[name, "not in the formula", None, Number(count, ",d", [source])]
             for name, count in counted.items()]  # fmt: skip
    total = Number(sum(counted.values(), together.value or 0), ",d", [source])
    return [*([*row, None] for row in rows), ["total", "", None, total, published]]


def _draw(figure: Figure, symbols: Sequence[str], activations: Tensor) -> None:
    panels = figure.subplots(4, 1, sharex=True)
    for axes, gate, values in zip(panels, NAMES, activations.numpy(), strict=True):
        shown = values[:, np.argsort(-values.std(0))[:SHOWN]]
        along = np.linalg.svd(shown - shown.mean(0), full_matrices=False)[2][0]
        shown = shown[:, np.argsort(along)]  # channels that open together next to each other
        low, colours = (-1, "RdBu_r") if gate == "g" else (0, "Blues")
        image = axes.imshow(shown.T, aspect="auto", cmap=colours, vmin=low, vmax=1,
                            interpolation="nearest")  # fmt: skip
        axes.set_ylabel(NAMES[gate].replace(" ", "\n"))
        axes.set_yticks([])
        axes.grid(visible=False)
        figure.colorbar(image, ax=axes, pad=0.01)
    panels[-1].set_xticks(range(len(symbols)), symbols, family="monospace", fontsize=9)
    panels[-1].tick_params(axis="x", length=0)
