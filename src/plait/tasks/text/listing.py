"""The report's listings: what a model wrote at 1/3, 2/3 and 3/3 of its training."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plait.tasks.text.model import TextModel

WINDOW = 100
"""Batches before a step over which its training accuracy is averaged."""


def listing(
    models: Mapping[int, TextModel],
    accuracy: Sequence[float],
    prompts: Sequence[str],
    length: int,
    **options: Any,
) -> Iterator[str]:
    """Write from every prompt with the weights of several steps, in the report's layout.

    Parameters
    ----------
    models : mapping of TextModel
        By the step that their weights are of.
    accuracy : sequence of float
        Training accuracy of every step made.
    prompts : sequence of str
    length : int
        Characters to write after each prompt.
    **options
        Those of `generate`: `beta`, `greedy`, `seed`, …

    Yields
    ------
    str
        The prompt, then step, training accuracy and text of every model.
    """
    last = max(models)
    for prompt in prompts:
        lines = [f"Original text: {prompt if prompt.strip() else repr(prompt)}"]
        for step, model in sorted(models.items()):
            recent = accuracy[max(0, step - WINDOW) : step]
            text = model.generate(prompt, length, **options)
            lines.append(
                f"Train Step: {step:0{len(str(last))}d}/{last}, "
                f"Accuracy: {sum(recent) / len(recent):.2f}, Text: {text}"
            )
        yield from (*lines, "---")
