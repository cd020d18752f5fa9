"""The report's listings: what a model wrote at 1/3, 2/3 and 3/3 of its training."""

from collections.abc import Iterator, Sequence
from typing import Any

from plait.api import load_weights_of
from plait.errors import InputError
from plait.training.run import Run

WINDOW = 100
"""Batches before a step over which its training accuracy is averaged."""


def listing(run: Run, prompts: Sequence[str], length: int, **options: Any) -> Iterator[str]:
    """Write from every prompt with the weights kept at each third, in the report's layout.

    Parameters
    ----------
    run : Run
    prompts : sequence of str
    length : int
        Characters to write after each prompt.
    **options
        Those of `generate`: `beta`, `greedy`, `seed`, …

    Yields
    ------
    str
        A line or more: the prompt, then step, training accuracy and text of every third.
    """
    steps = run.kept_steps()
    if not steps:
        raise InputError(f"{run.path} has not reached a third of its training yet")
    models = {step: load_weights_of(run, run.kept_path(step)) for step in steps}
    accuracy = [record["accuracy"] for record in run.records("train")]
    width = len(str(run.config["steps"]))
    for prompt in prompts:
        yield f"Original text: {prompt if prompt.strip() else repr(prompt)}"
        for step, model in models.items():
            recent = accuracy[max(0, step - WINDOW) : step]
            text = model.generate(prompt, length, **options)
            yield (
                f"Train Step: {step:0{width}d}/{run.config['steps']}, "
                f"Accuracy: {sum(recent) / len(recent):.2f}, Text: {text}"
            )
        yield "---"
