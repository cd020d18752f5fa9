"""Which characters make batch t: a pure function of the seed and t, and of the process."""

import torch
from torch import Tensor

from plait.errors import InputError
from plait.training.ranks import ALONE, Ranks
from plait.training.streams import random_generator


class Windows:
    """Sequences from random places, each from a zero state: the report's protocol.

    Example
    -------
    >>> import torch
    >>> from plait.tasks.text.batches import Windows
    >>> x, y, fresh = Windows(torch.arange(100), length=4, batch_size=2, seed=0).batch(1)
    >>> x.shape, bool((y == x + 1).all()), fresh
    (torch.Size([4, 2]), True, True)
    """

    def __init__(self, numbers: Tensor, *, length: int, batch_size: int, seed: int,
                 unit: str = "characters", ranks: Ranks = ALONE,
                 device: torch.device | str | None = None) -> None:  # fmt: skip
        if len(numbers) < length + 1:
            raise InputError(
                f"the training set has {len(numbers)} {unit}, fewer than a sequence of "
                f"length {length} and the one after it; give a longer text or a smaller --length"
            )
        self.numbers, self.batch_size, self.seed = numbers, batch_size * ranks.count, seed
        self.offsets = torch.arange(length + 1, device=numbers.device)[:, None]  # [T + 1, 1]
        self.device = numbers.device if device is None else device
        self.part = ranks.part(self.batch_size)

    def batch(self, step: int) -> tuple[Tensor, Tensor, bool]:
        """Return symbols `[T, B]`, those that follow them, and whether the state starts anew."""
        places = len(self.numbers) - len(self.offsets) + 1
        starts = random_generator(self.seed, step).integers(places, size=self.batch_size)[self.part]
        window = self.numbers[self.offsets + torch.from_numpy(starts).to(self.offsets.device)]
        window = window.to(self.device, torch.long)
        return window[:-1], window[1:], True


class StatefulStreams:
    """A stream of the text for each sequence of a batch, which carries its state along.

    Every pass over the text starts at another random place; the streams follow one another around
    the text, whose end is joined to its beginning.

    Example
    -------
    >>> import torch
    >>> from plait.tasks.text.batches import StatefulStreams
    >>> streams = StatefulStreams(torch.arange(100), length=5, batch_size=2, seed=0)
    >>> first, second = streams.batch(1)[0], streams.batch(2)[0]
    >>> bool((second[0] == (first[-1] + 1) % 100).all())
    True
    """

    def __init__(self, numbers: Tensor, *, length: int, batch_size: int, seed: int,
                 unit: str = "characters", ranks: Ranks = ALONE,
                 device: torch.device | str | None = None) -> None:  # fmt: skip
        batch_size *= ranks.count
        self.stretch = len(numbers) // batch_size
        self.steps = self.stretch // length
        if self.steps == 0:
            raise InputError(
                f"the training set has {len(numbers)} {unit}, too few for {batch_size} "
                f"streams of {length}; give a longer text, or smaller --batch-size or --length"
            )
        self.numbers, self.length, self.batch_size, self.seed = numbers, length, batch_size, seed
        offsets = torch.arange(length + 1)[:, None] + self.stretch * torch.arange(batch_size)
        self.offsets = offsets[:, ranks.part(batch_size)].to(numbers.device)  # [T + 1, B]
        self.device = numbers.device if device is None else device

    def batch(self, step: int) -> tuple[Tensor, Tensor, bool]:
        """Return symbols `[T, B]`, those that follow them, and whether the state starts anew."""
        number, k = divmod(step - 1, self.steps)
        start = int(random_generator(self.seed, number).integers(len(self.numbers)))
        window = self.numbers[(self.offsets + (start + k * self.length)) % len(self.numbers)]
        window = window.to(self.device, torch.long)
        return window[:-1], window[1:], k == 0
