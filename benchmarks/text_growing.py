"""Sizes that grow while a text is read, and averages of the weights: what each gains.

    python benchmarks/text_growing.py --data democracy --seeds 3 --hidden-size 128 --lr 0.016

All rows read as many characters, in `--steps` (default: 900) batches of the recipe `good`, 32 × 60.
Where a size grows, it does so in three parts of as many characters each. The scores are bits per
character on the validation set with the last weights, the seconds those of the processor. Any
other option of the text task holds for all rows. Needs the text under $PLAIT_DATA.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.optim.swa_utils import AveragedModel

from plait.comparison.grid import read_vary
from plait.tasks.text.batches import StatefulStreams
from plait.tasks.text.config import TextConfig
from plait.tasks.text.scores import score_stream
from plait.tasks.text.task import TextTask
from plait.training.loop import Loop
from plait.training.progress import Progress
from plait.training.run import Run


class Way(NamedTuple):
    """How to train: sizes of each part, options, whether the last third's weights are averaged."""

    sizes: tuple[tuple[int, int], ...] = ((60, 32),)
    changed: dict[str, Any] = {}  # noqa: RUF012
    averaged: bool = False


WAYS = {
    "the recipe": Way(),
    "a stable rate, decay in the last third": Way(changed={"schedule": "wsd"}),
    "averaged over the last third": Way(averaged=True),
    "the same, constant rate": Way(changed={"schedule": "constant"}, averaged=True),
    "length 20, 60, 100": Way(((20, 32), (60, 32), (100, 32))),
    "length 30, 60, 120": Way(((30, 32), (60, 32), (120, 32))),
    "length 120": Way(((120, 32),)),
    "batches of 8, 16, 32": Way(((60, 8), (60, 16), (60, 32))),
    "batches of 16": Way(((60, 16),)),
    "batches of 16, 32, 64": Way(((60, 16), (60, 32), (60, 64))),
}


def measure(way: Way, config: TextConfig) -> tuple[float, int, float]:
    """Return bits per character on validation, the steps, and seconds of the processor."""
    parts = way.sizes
    characters = config.steps * config.length * config.batch_size // len(parts)
    steps = [characters // (length * count) for length, count in parts]
    config = replace(config, **way.changed, steps=sum(steps), validate_every=sum(steps))
    task = TextTask(config, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(
            task, Run.create(Path(folder) / "run", "text", config, task.facts()), Progress()
        )
        loop.progress.start(0, 0, [])
        mean, done, began = AveragedModel(task.model), 0, time.process_time()
        for (length, count), n in zip(parts, steps, strict=True):
            sizes = {"length": length, "batch_size": count, "seed": config.seed}
            streams = StatefulStreams(task.training, **sizes)
            task.config = replace(config, batch_size=count)
            loop.now.carry = task.start()
            loop.batches = lambda step, streams=streams, done=done: streams.batch(step - done)
            for _ in range(n):
                loop.step()
                done += 1
                if way.averaged and done > 2 * config.steps / 3:
                    mean.update_parameters(task.model)
        seconds = time.process_time() - began
    model = mean.module if way.averaged else task.model
    return score_stream(model.eval(), task.validation)["bits_per_character"], done, seconds


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    known, others = parser.parse_known_args()
    flags = [
        f"{f[2:].replace('-', '_')}={v}" for f, v in zip(others[::2], others[1::2], strict=True)
    ]
    given = {name: value for name, (value,) in read_vary(flags, "text").items()}
    config = TextConfig(**{**TextConfig.recipes["good"], "data": "democracy", **given})
    print("| | validation | gain | steps | seconds |\n|---|---|---|---|---|")
    base: list[float] = []
    for name in known.ways:
        found = [measure(WAYS[name], replace(config, seed=seed)) for seed in range(known.seeds)]
        bits, steps, seconds = map(list, zip(*found, strict=True))
        base = base or bits
        gains = [b - v for b, v in zip(base, bits, strict=True)]
        spread = [f" ± {statistics.stdev(v):.4f}" if len(v) > 1 else "" for v in (bits, gains)]
        print(
            f"| {name} | {statistics.mean(bits):.4f}{spread[0]} | {statistics.mean(gains):+.4f}"
            f"{spread[1]} | {steps[0]} | {statistics.mean(seconds):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
