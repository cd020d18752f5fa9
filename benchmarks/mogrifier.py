"""The Mogrifier LSTM in the text task, written in plain torch, against the LSTM at equal steps.

    python benchmarks/mogrifier.py --data democracy --hidden-size 128 --lr 0.016 --steps 400

It is no cell, as its input depends on the state before the input's weights (docs/howto/cell.md), so
it is a loop in torch here; its rows show what it gains at equal steps, and what the same loop
without rounds, which is an LSTM, costs. Scores are bits per character on the validation part with
the last weights; seconds are those of the processor. Any option of the text task holds for all
rows. Needs the text under $PLAIT_DATA.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from plait import Recurrent
from plait.comparison.grid import read_vary
from plait.tasks.text.config import TextConfig
from plait.tasks.text.scores import score_stream
from plait.tasks.text.task import TextTask
from plait.training.loop import Loop
from plait.training.progress import Progress
from plait.training.run import Run

ROUNDS = (None, 0, 5)
"""None: the task's own LSTM."""


class Layer(nn.Module):
    """An LSTM whose input and state first scale one another (Melis et al. 2020).

    x ← 2 σ(Q_i h) ⊙ x in rounds 1, 3, …;  h ← 2 σ(R_i x) ⊙ h in rounds 2, 4, …
    """

    def __init__(self, input_size: int, hidden_size: int, rounds: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(input_size, hidden_size)
        sizes = [(hidden_size, input_size), (input_size, hidden_size)]
        self.scales = nn.ModuleList(nn.Linear(*sizes[i % 2]) for i in range(rounds))
        for weight, init in (
            (self.cell.weight_hh, nn.init.orthogonal_),
            (self.cell.weight_ih, nn.init.xavier_uniform_),
        ):
            for gate in weight.chunk(4):
                init(gate)
        nn.init.zeros_(self.cell.bias_hh)
        nn.init.zeros_(self.cell.bias_ih)
        nn.init.ones_(self.cell.bias_ih[hidden_size : 2 * hidden_size])  # open forget gates

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs `[T, B, H]` and the last states `[B, H]`."""
        outputs = []
        for x_t in x:
            scaled = x_t
            for i, scale in enumerate(self.scales):
                if i % 2 == 0:
                    scaled = 2 * torch.sigmoid(scale(h)) * scaled
                else:
                    h = 2 * torch.sigmoid(scale(scaled)) * h
            h, c = self.cell(scaled, (h, c))
            outputs.append(h)
        return torch.stack(outputs), h, c


class Mogrifier(nn.Module):
    """Stacked layers in place of a `Recurrent`, with initial weights as in the text task."""

    def __init__(self, like: Recurrent, rounds: int) -> None:
        super().__init__()
        self.cell, self.layers, self.hidden_size = like.cell, like.layers, like.hidden_size
        sizes = [like.input_size] + [like.hidden_size] * (like.layers - 1)
        self.stack = nn.ModuleList(Layer(size, like.hidden_size, rounds) for size in sizes)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs `[T, B, H]` and the last states `[L, B, H]`."""
        zero = x.new_zeros(self.layers, x.shape[1], self.hidden_size)
        last = []
        for layer, h, c in zip(self.stack, *(state or (zero, zero)), strict=True):
            x, *states = layer(x, h, c)
            last.append(torch.stack(states))
        h, c = torch.stack(last, 1)
        return x, (h, c)


def measure(rounds: int | None, config: TextConfig) -> tuple[float, float]:
    """Return bits per character on validation, and seconds of the processor."""
    task = TextTask(config, torch.device("cpu"))
    if rounds is not None:
        torch.manual_seed(config.seed)
        layers = Mogrifier(task.model.recurrent, rounds)
        task.model.recurrent = layers  # pyright: ignore[reportAttributeAccessIssue]
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", "text", config, task.facts())
        loop = Loop(task, run, Progress())
        loop.progress.start(0, 0, [])
        began = time.process_time()
        for _ in range(config.steps):
            loop.step()
        seconds = time.process_time() - began
    return score_stream(task.model.eval(), task.validation)["bits_per_character"], seconds


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    known, others = parser.parse_known_args()
    flags = [
        f"{f[2:].replace('-', '_')}={v}" for f, v in zip(others[::2], others[1::2], strict=True)
    ]
    given = {name: value for name, (value,) in read_vary(flags, "text").items()}
    config = TextConfig(**{**TextConfig.recipes["good"], "data": "democracy", **given})
    torch.set_num_threads(config.threads or torch.get_num_threads())
    print(f"{config.steps} steps, {known.seeds} seeds\n| | validation | gain | seconds |")
    print("|---|---|---|---|")
    base: list[float] = []
    for rounds in ROUNDS:
        found = [measure(rounds, replace(config, seed=seed)) for seed in range(known.seeds)]
        bits, seconds = map(list, zip(*found, strict=True))
        base = base or bits
        gains = [b - v for b, v in zip(base, bits, strict=True)]
        spread = [f" ± {statistics.stdev(v):.4f}" if len(v) > 1 else "" for v in (bits, gains)]
        name = "LSTM" if rounds is None else f"in plain torch, {rounds} rounds"
        print(
            f"| {name} | {statistics.mean(bits):.4f}{spread[0]} | {statistics.mean(gains):+.4f}"
            f"{spread[1]} | {statistics.mean(seconds):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
