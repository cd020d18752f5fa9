"""Streams are found again by seed and number, and never meet."""

import numpy as np

from plait.training.streams import random_generator


def test_the_first_stream_is_philox_with_the_key_seed_and_number():
    plain = np.random.Generator(np.random.Philox(key=[3, 5]))
    assert (
        random_generator(3, 5).integers(1 << 60, size=9) == plain.integers(1 << 60, size=9)
    ).all()


def test_seeds_numbers_and_streams_differ():
    names = [(s, n, k) for s in (0, 1, 2**63 - 1) for n in (0, 1, 10**9) for k in (0, 1, 2)]
    assert len({random_generator(*name).integers(1 << 60) for name in names}) == len(names)
