"""`plait serve` of a text run: what is generated, how likely each symbol was, and the states."""

import copy
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plait.decoding import eval_mode
from plait.pages import Blocks, Control, Page
from plait.sampling import Sampling
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel

LENGTH, PROMPT = 600, 1000
"""The most symbols to generate, and characters of a prompt."""

ALTERNATIVES = 6
"""How many of the likeliest symbols are shown of each place."""

CELLS = 128
"""Channels of the state at most that are shown."""

TOGETHER = 4
"""Symbols that are sent together."""


def page(model: TextModel, config: TextConfig, facts: Mapping[str, Any]) -> Page:
    """Return the page: a prompt and how to sample; a sampled text next to the greedy one."""
    shown = min(CELLS, config.hidden_size)
    prompt = "" if model.vocabulary.unknown("The ") else "The "
    layers = [str(k + 1) for k in range(config.layers)]
    controls = (
        Control("prompt", "Prompt", "lines", prompt, most=PROMPT),
        Control("length", "Length", "number", 200, least=1, most=LENGTH),
        Control("beta", "β", "number", 1.0, most=5, step=0.05,
                help="Multiplies the logits: 0 uniform, 1 as learnt, larger is sharper."),
        Control("top_k", "top-k", "number", 0, most=100,
                help="Sample from the k likeliest symbols; 0: from all."),
        Control("top_p", "top-p", "number", 1.0, least=0.05, most=1, step=0.05,
                help="Sample from the smallest set of likeliest symbols with this probability."),
        Control("min_p", "min-p", "number", 0.0, most=1, step=0.01,
                help="Leave out symbols with less than this share of the likeliest one's."),
        Control("seed", "Seed", "number", 0, most=9999),
        Control("layer", "Layer of the states", "choice", layers[-1], choices=layers),
    )  # fmt: skip

    def answer(prompt: str, length: int, seed: int, layer: str, **sampling: Any) -> Blocks:
        sampling["top_k"] = sampling["top_k"] or None
        sampler = Sampling.of(**sampling)
        prompt = model.clean_prompt(prompt)
        read = Reader(model, int(layer) - 1, shown)
        given = [read.symbol(n, None) for n in model.vocabulary.encode(prompt).tolist()]
        for place, title in (("sampled", "Sampled"), ("greedy", "Greedy")):
            yield {"kind": "symbols", "to": place, "title": title, "start": True,
                   "symbols": given, "cells": shown}  # fmt: skip
        texts = {
            "sampled": written(read.copy(), sampler, seed, length),
            "greedy": written(read.copy(), Sampling.of(greedy=True), seed, length),
        }
        for _ in range(0, length, TOGETHER):
            for place, text in texts.items():
                symbols = list(islice(text, TOGETHER))
                yield {"kind": "symbols", "to": place, "symbols": symbols}

    about = (
        "Each symbol is coloured by how likely the model found it; point at one for the "
        "alternatives. Under a text is a row for every channel of the state: choose one to colour "
        "the text by it."
    )
    return Page(about, controls, answer, "Generate")


class Reader:
    """A text model that reads one symbol after another.

    Parameters
    ----------
    model : TextModel
    layer : int
        Whose hidden state is shown.
    cells : int
        Channels that are shown.
    """

    def __init__(self, model: TextModel, layer: int, cells: int) -> None:
        self.model, self.layer, self.cells = model, layer, cells
        self.state: Any = None
        self.decode: Callable[[int], str] = model.vocabulary.decoder("")
        self.read: list[int] = []
        with eval_mode(model), torch.inference_mode():
            self.logits = model.first_logits(1)  # [1, V]

    def copy(self) -> "Reader":
        """Return a reader of the same text so far."""
        other = copy.copy(self)
        other.decode, other.read = self.model.vocabulary.decoder(""), list(self.read)
        for number in self.read:
            other.decode(number)
        return other

    def symbol(self, number: int, drawn: Tensor | None) -> dict[str, Any]:
        """Read a symbol; return its text, its probability, the likeliest ones, and the state.

        `drawn` is the distribution that it was drawn from; None: it was given.
        """
        vocabulary = self.model.vocabulary
        with eval_mode(self.model), torch.inference_mode():
            p = self.logits[0].double().softmax(-1)
            top = p.topk(min(ALTERNATIVES, len(p)))
            likeliest = [
                [vocabulary.decode([k]), round(value, 4), _at(drawn, k)]
                for value, k in zip(top.values.tolist(), top.indices.tolist(), strict=True)
            ]
            found = {"p": round(float(p[number]), 4), "q": _at(drawn, number)}
            last = torch.tensor([[number]], device=p.device)
            logits, self.state = self.model(last, self.state)
            self.logits = logits[0]
            h = self.state if isinstance(self.state, Tensor) else self.state[0]
            cells = h[self.layer, 0, : self.cells].clamp(-1, 1).mul(100).round().int().tolist()
        self.read.append(number)
        return {"text": self.decode(number), **found, "likeliest": likeliest, "cells": cells,
                "given": drawn is None}  # fmt: skip


def _at(drawn: Tensor | None, number: int) -> float | None:
    return None if drawn is None else round(float(drawn[number]), 4)


def written(read: Reader, sampling: Sampling, seed: int, length: int) -> Iterator[dict[str, Any]]:
    """Yield the symbols that `TextGenerator.generate` draws with this seed, one by one."""
    stream = np.random.Generator(np.random.Philox(key=[seed, 0]))
    for _ in range(length):
        u = torch.tensor([stream.random()], dtype=torch.float64, device=read.logits.device)
        drawn = sampling.probabilities(read.logits)[0]
        yield read.symbol(int(sampling.draw(read.logits, u)), drawn)
