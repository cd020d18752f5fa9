"""Section 2: what each gate of a trained LSTM does, and what the LSTM is made of."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from statistics import fmean
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from plait.comparison.results import Result
from plait.diagnostics import count_parameters
from plait.figures import label
from plait.kernels.reference import Reference
from plait.nn.cell import Cell, RecurrentSide, State
from plait.study.claims import Answer, answer, below, verdict_of
from plait.study.page import Block, Number, Picture, Table, Words, difference_of, drawing
from plait.study.runs import Made, Wanted, config_of, model_of, run_of, source_of
from plait.study.sections import memory, text
from plait.tasks.memory.inference import probe
from plait.tasks.memory.problems import problem_named
from plait.tasks.memory.scores import batches_to_test_on, score_batches
from plait.tasks.text.inference import splits_of
from plait.tasks.text.scores import score_stream

TITLE = "What the gates of an LSTM do"
SAYS = """The input modulation gate g adds what is new, its tanh centred around zero; the input
gate i says how much of it is remembered, the forget gate f how much is forgotten, the output gate o
how much of the cell state is shown, each between 0 and 1. The cell has 4·H + 4·F·H + 4·H·H
parameters, the output H·O + O."""

GATES = {"i": "input gate i", "f": "forget gate f", "g": "input modulation g", "o": "output gate o"}
PUBLISHED = {"strings": "266,763", "book": "285,780"}
"""Parameters of the report's networks in all; of the book's with torch's two biases a gate."""

SHOWN, READ = 24, 50
"""Channels and characters that are drawn."""

LONG = 2000
"""Characters along which the gates are read, the last of which are drawn."""

SCORED, BATCHES = 16_384, 4
"""Held-out characters, and batches of fresh strings, that are scored."""


class Gates(Cell):
    """An LSTM that keeps what its gates said, and in which a gate can be held still.

    `held` gives a gate's value for every channel, `[H]`; `said` is a list, a step each, of the
    activations i, f, g, o, `[4, B, H]`.
    """

    gates = "ifgo"
    states = ("h", "c")

    def __init__(self, held: Mapping[str, Tensor]) -> None:
        self.held = held
        self.said: list[Tensor] = []

    def step(
        self, x_gates: Tensor, hear: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Go one step as the LSTM does."""
        h, c = state
        i, f, g, o = (x_gates + hear(h)).chunk(4, -1)
        found = {"i": i.sigmoid(), "f": f.sigmoid(), "g": g.tanh(), "o": o.sigmoid()}
        found |= {name: value.expand_as(c) for name, value in self.held.items()}
        i, f, g, o = found.values()
        self.said.append(torch.stack([i, f, g, o]))
        c = f * c + i * g
        return o * c.tanh(), c


def watched(
    model: nn.Module, held: Sequence[Mapping[str, Tensor]] = ()
) -> tuple[nn.Module, list[Gates]]:
    """Copy a model with its LSTM's layers watched; `held` is a mapping a layer."""
    model = copy.deepcopy(model).eval()
    layer: Any = model.recurrent
    cells = [Gates(held[k] if held else {}) for k in range(layer.layers)]
    for strand, cell in zip(layer.directions, cells, strict=True):
        strand.cell = cell
    layer.cell, layer.kernels = cells[0], [Reference()]
    return model, cells


def wanted(size: Mapping[str, Any]) -> dict[str, Wanted]:
    """The longest strings' LSTM of section 3, and the network of section 4."""
    strings = memory.wanted(size["memory"])["grid"]
    vary = {"cell": ("lstm-course",), "length": (max(size["memory"]["lengths"]),)}
    strings = replace(strings, vary=vary, seeds=size["memory"]["seeds"][:1])
    book = text.wanted(size["text"])["runs"]
    return {"strings": strings, "book": replace(book, seeds=size["text"]["seeds"][:1])}


@torch.no_grad()
def tell(
    made: Mapping[str, Made], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Answer]]:
    """Tell the gates along a string and a sentence, what holding them costs, and the counts."""
    strings, book = made["strings"].results[0], made["book"].results[0]
    measured = {
        "strings": _measure(model_of(strings), _score_strings(strings)),
        "book": _measure(model_of(book), _score_book(book)),
    }
    counted = [_counts(strings, 2, PUBLISHED["strings"]), _counts(book, 0, PUBLISHED["book"])]
    sources = {"strings": source_of(strings), "book": source_of(book)}
    bits, along_string = _along_string(strings)
    letters, along_book = _along_text(book)
    forgetting = along_book["ifgo".index("f")].mean(1).tolist()
    begin = letters.index("␣", len(letters) - READ - 12) + 1  # at a word
    shown = slice(begin, begin + READ)
    rows: list[list[Any]] = []
    for key, what, form in (("strings", "strings", ".1%"), ("book", "book", ".3f")):
        whole, gates = measured[key]
        for gate, (mean, spread, low, high, scores) in gates.items():
            numbers = [Number(v, ".2f", [sources[key]]) for v in (mean, spread, low, high)]
            rows.append([f"{what}: {GATES[gate]}", *numbers,
                         *(Number(s, form, [sources[key]]) for s in (whole, *scores))])  # fmt: skip
    blocks: list[Block] = [
        Words(
            "Two trained LSTMs, that of section 3 over Baum–Sweet strings and that of section 4 "
            "over a book, tell at every step what their gates say."
        ),
        Picture(
            "2-string",
            "The gates along a Baum–Sweet string, as the network reads it (· is padding): the "
            f"{SHOWN} channels of each that change most. Darker blue: wider open; of g, red adds "
            "and blue takes away.",
            drawing(9.5, 5.4, lambda figure: _draw(figure, bits, along_string)),
        ),
        Picture(
            "2-sentence",
            "The gates of the last layer along the validation part. The channels are sorted gate "
            "by gate: a row of one is not that of another.",
            drawing(9.5, 5.4, lambda figure: _draw(figure, letters[shown], along_book[:, shown])),
        ),
        Table(
            "2-gates",
            "What the gates say over fresh strings and the book’s validation part, and the score "
            "when one of them is held: at its mean in each channel, at 0, at 1. Strings: right "
            "answers. Book: bits per character.",
            ["gate", "mean", "sd", "least", "largest", "free", "at its mean", "at 0", "at 1"],
            rows,
        ),
        *(Table(f"2-parameters-{key}", f"Parameters of the LSTM over {what}: the report’s formula "
                "and what is counted. The formula leaves out the embedding, and has one layer. "
                + extra,
                ["term", "formula", "by the formula", "counted", "at the report’s sizes"], count,
                published=[4])
          for (key, what, extra), count in zip(
              (("strings", "strings", ""),
               ("book", "the book", "The report’s network was torch’s, which has two biases a gate "
                "where one does: 1,024 more.")), counted, strict=True)),
    ]  # fmt: skip
    return blocks, [
        *answers(measured, counted, sources),
        gap_answer(gaps(letters, forgetting), sources["book"]),
    ]


def gaps(letters: Sequence[str], forgetting: Sequence[float]) -> list[tuple[float, float]]:
    """Give the forget gate at each space behind a word, and its mean over that word.

    >>> from plait.study.sections.gates import gaps
    >>> gaps("of␣␣a␣", [0.6, 0.8, 0.2, 0.3, 0.5, 0.4])
    [(0.2, 0.7), (0.4, 0.5)]
    """
    found, word = [], list[float]()
    for letter, value in zip(letters, forgetting, strict=True):
        if letter != "␣":
            word.append(value)
        elif word:
            found.append((value, fmean(word)))
            word = []
    return found


def gap_answer(found: Sequence[tuple[float, float]], source: str) -> Answer:
    """Say what the forget gate does between words: at each gap beside the word before it."""
    differences = [there - within for there, within in found]
    does = {True: "closes somewhat", False: "opens somewhat", None: "is as open as within them"}
    text = "Between two words the forget gate {}: its mean is {} at the spaces and {} in the words "
    text += "before them, a difference of {} over {} gaps."
    there, within = (Number(fmean(values), ".2f", [source]) for values in zip(*found, strict=True))
    return answer("measured", text, does[below(differences)], there, within,
                  difference_of(differences, "+.3f", [source]), len(found))  # fmt: skip


Measured = tuple[float, dict[str, tuple[float, float, float, float, list[float]]]]
"""The score of the whole, and for each gate mean, spread, least, largest and scores when held."""


def answers(
    measured: Mapping[str, Measured],
    counted: Sequence[Sequence[Sequence[Any]]],
    sources: Mapping[str, str],
) -> list[Answer]:
    """Say whether formula, range and centre are as the report has them; what each gate is for."""
    same = all(row[2] == row[3].value for rows in counted for row in rows if row[2] is not None)
    whole, gates = measured["book"]
    source = [sources["book"]]
    closing = [g for _, found in measured.values() for name, g in found.items() if name != "g"]
    within = all(low >= 0 and high <= 1 for _, _, low, high, _ in closing)
    mean, spread = gates["g"][:2]
    centred = abs(mean) < 0.1 * spread
    costs = {name: scores[0] - whole for name, (*_, scores) in gates.items()}
    most = max(costs, key=lambda name: costs[name])
    needless = [GATES[name] for name, cost in costs.items() if cost <= 0]
    forgetting, keeping = gates["f"][4][1:]
    return [
        answer(
            verdict_of(same),
            "The formula gives what is counted, term by term." if same
            else "The formula does not give what is counted.",
        ),
        answer(
            verdict_of(within),
            "i, f and o lie between {} and {}.",
            Number(min(g[2] for g in closing), ".2f", list(sources.values())),
            Number(max(g[3] for g in closing), ".2f", list(sources.values())),
        ),
        answer(
            verdict_of(centred),
            "g is centred: its mean is {}, its standard deviation {}." if centred
            else "g is not centred: its mean is {}, its standard deviation {}.",
            Number(mean, ".2f", source), Number(spread, ".2f", source),
        ),
        answer(
            "measured",
            "Held at its mean, each gate costs the book’s network bits, the {} most: {} instead of "
            "{} bits per character." if not needless else
            "Held at its mean, the {} costs the book’s network most: {} instead of {} bits per "
            f"character; nothing is lost with the {' and the '.join(needless)}.",
            GATES[most], Number(whole + costs[most], ".3f", source), Number(whole, ".3f", source),
        ),
        answer(
            "measured",
            "With the forget gate at 0, which forgets everything, a character costs {} bits; at 1, "
            "which forgets nothing, {}; free, {}.",
            *(Number(bits, ".3f", source) for bits in (forgetting, keeping, whole)),
        ),
    ]  # fmt: skip


def _measure(model: nn.Module, score: Callable[[Any], float]) -> Measured:
    """Watch the gates while a model is scored, then score it with each held."""
    free, cells = watched(model)
    whole = score(free)
    said = [torch.cat([s.flatten(1, -2) for s in cell.said], 1) for cell in cells]  # [4, n, H]
    every = torch.cat([s.flatten(1) for s in said], 1)  # [4, n]
    found = {}
    for k, gate in enumerate("ifgo"):
        values = every[k]
        scores = []
        for level in (None, 0.0, 1.0):
            held = [
                {gate: s[k].mean(0) if level is None else torch.full_like(s[k, 0], level)}
                for s in said
            ]
            scores.append(score(watched(model, held)[0]))
        found[gate] = (float(values.mean()), float(values.std()), float(values.min()),
                       float(values.max()), scores)  # fmt: skip
    return whole, found


def _score_strings(result: Result) -> Callable[[Any], float]:
    config: Any = config_of(result)
    problem = problem_named(config.problem, config.length)
    model = model_of(result)
    batches = list(islice(batches_to_test_on(model, problem, config), BATCHES))
    return lambda m: score_batches(m, problem, batches)["accuracy"]


def _score_book(result: Result) -> Callable[[Any], float]:
    _, validation, _ = splits_of(model_of(result), config_of(result), run_of(result).facts)
    return lambda m: score_stream(m, validation[:SCORED])["bits_per_character"]


def _along_string(result: Result) -> tuple[list[str], Tensor]:
    """Give the symbols of one string, and the gates along it, `[4, T, H]`."""
    model = model_of(result)
    x, _ = probe(model, config_of(result), run_of(result).facts)
    longest = int((x > 0).sum(0).argmax())
    free, cells = watched(model)
    free(x[:, longest : longest + 1])
    return ["·01"[token] for token in x[:, longest]], torch.stack(cells[-1].said, 1)[:, :, 0]


def _along_text(result: Result) -> tuple[list[str], Tensor]:
    """Give characters of the validation part, and the last layer's gates along them."""
    model = model_of(result)
    _, validation, _ = splits_of(model, config_of(result), run_of(result).facts)
    read = validation[:LONG]
    free, cells = watched(model)
    free(read[:, None])
    letters = model.vocabulary.decode(read.tolist())
    return [label(c) or "␣" for c in letters], torch.stack(cells[-1].said, 1)[:, :, 0]


def _counts(result: Result, classes: int, published: str) -> list[list[Any]]:
    """Set each term of the report's formula beside what is counted."""
    model, config, source = model_of(result), config_of(result), source_of(result)
    counted = {term.name: term.count for term in count_parameters(model).terms}
    H, O = config.hidden_size, classes or len(model.vocabulary)  # noqa: E741
    rows: list[list[Any]] = []
    formula = 0
    for layer in range(config.layers):
        F = H if layer else config.embedding_size
        name = f"recurrent layer {layer}"
        for part, words, by in (
            ("biases", "4·H", 4 * H), ("input–hidden", "4·F·H", 4 * F * H),
            ("hidden–hidden", "4·H·H", 4 * H * H),
        ):  # fmt: skip
            number = Number(counted.pop(f"{name}, {part}"), ",d", [source])
            rows.append([f"layer {layer}, {part}", words, by, number])
            formula += by
    output = counted.pop("output.weight") + counted.pop("output.bias")
    rows.append(["output", "H·O + O", H * O + O, Number(output, ",d", [source])])
    together = Number(sum(row[3].value for row in rows), ",d", [source])
    rows.append(["together", "", formula + H * O + O, together])
    rows += [[name, "not in it", None, Number(count, ",d", [source])]
             for name, count in counted.items()]  # fmt: skip
    total = Number(sum(counted.values(), together.value or 0), ",d", [source])
    return [*([*row, None] for row in rows), ["total", "", None, total, published]]


def _draw(figure: Figure, symbols: Sequence[str], said: Tensor) -> None:
    panels = figure.subplots(4, 1, sharex=True)
    for axes, gate, values in zip(panels, GATES, said.numpy(), strict=True):
        shown = values[:, np.argsort(-values.std(0))[:SHOWN]]
        along = np.linalg.svd(shown - shown.mean(0), full_matrices=False)[2][0]
        shown = shown[:, np.argsort(along)]  # those that open together side by side
        low, colours = (-1, "RdBu_r") if gate == "g" else (0, "Blues")
        image = axes.imshow(shown.T, aspect="auto", cmap=colours, vmin=low, vmax=1,
                            interpolation="nearest")  # fmt: skip
        axes.set_ylabel(GATES[gate].replace(" ", "\n"))
        axes.set_yticks([])
        axes.grid(visible=False)
        figure.colorbar(image, ax=axes, pad=0.01)
    panels[-1].set_xticks(range(len(symbols)), symbols, family="monospace", fontsize=9)
    panels[-1].tick_params(axis="x", length=0)
