"""Streams of random numbers that are found again by their seed and number, without any state."""

import numpy as np


def random_generator(seed: int, number: int, stream: int = 0) -> np.random.Generator:
    """Make the generator of batch, or pass, `number`.

    The bits are those of the counter-based generator Philox (Salmon et al. 2011) with the key
    (seed, number). A stream is a range of the counter of its own, so what is drawn to test on
    never meets what was drawn to train on.

    >>> from plait.training.streams import random_generator
    >>> [int(random_generator(0, 7).integers(1000)) for _ in range(3)]
    [811, 811, 811]
    >>> int(random_generator(0, 7, stream=1).integers(1000))
    983
    """
    bits = np.random.Philox(key=[seed, number], counter=[0, 0, 0, stream])
    return np.random.Generator(bits)
