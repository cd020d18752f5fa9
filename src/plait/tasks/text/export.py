"""A trained language model as a form: symbols and states in, logits and states out."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.export_formats.form import Form
from plait.export_formats.layers import (
    state_inputs,
    state_outputs,
    state_shapes,
)
from plait.nn.forms import as_state, as_tuple
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel


def text_form(
    model: TextModel, config: TextConfig, facts: Mapping[str, Any], *, step: bool = False
) -> Form:
    """Return the form of a run's model.

    `symbols [T, B]` and the states to `logits [T, B, V]` and the next states; with `step`
    `symbols [B]` to `logits [B, V]`. Start from states of zeros; `vocabulary[k]` is symbol k, of
    byte pairs a list of bytes.
    """
    layer = model.recurrent
    states, axes = state_inputs(layer.cell, (layer.layers, 2, layer.hidden_size))
    symbols = torch.arange(4 if step else 8) % len(model.vocabulary)
    return Form(
        _Symbols(model, step=step),
        {"symbols": symbols if step else symbols.view(4, 2), **states},
        ["logits", *state_outputs(layer.cell)],
        {"symbols": {0: "batch"} if step else {0: "time", 1: "batch"}, **axes},
        {
            "unit": model.vocabulary.unit,
            "vocabulary": [
                list(s) if isinstance(s, bytes) else s for s in model.vocabulary.symbols
            ],
            "prepared": getattr(model.vocabulary, "prepared", None),
            "state_shapes": state_shapes(states),
        },
    )


class _Symbols(nn.Module):
    table: Tensor

    def __init__(self, model: TextModel, *, step: bool) -> None:
        super().__init__()
        self.step, self.recurrent, self.output = step, model.recurrent, model.output
        self.register_buffer("table", model.table().detach())

    def forward(self, symbols: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        x = F.embedding(symbols[None] if self.step else symbols, self.table)  # [T, B, E]
        h, final = self.recurrent(x, as_state(states))
        return (self.output(h[0] if self.step else h), *as_tuple(final))
