"""Frames against a slow loop, and where the walls are."""

import math

import numpy as np
import pytest

from plait.tasks.digits.frames import draw_frames, places


def slow_frames(random, digits, count, steps, side):
    """One pixel after another, from the same numbers."""
    n, D = len(digits), digits.shape[-1]
    room = side - D
    which = random.integers(n, size=(count, 2))
    start = random.uniform(0, room, (count, 2, 2))
    angle = random.uniform(0, 2 * np.pi, (count, 2))
    speed = random.uniform(3 / 64, 5 / 64, (count, 2))
    frames = np.zeros((steps, count, side, side))
    for b in range(count):
        for nth in range(2):
            y, x = start[b, nth]
            pace = speed[b, nth] * side
            v, u = pace * math.sin(angle[b, nth]), pace * math.cos(angle[b, nth])
            for t in range(steps):
                y, x = y + v, x + u
                if y < 0 or y > room:
                    y, v = (0.0 if y < 0 else float(room)), -v
                if x < 0 or x > room:
                    x, u = (0.0 if x < 0 else float(room)), -u
                for i in range(D):
                    for j in range(D):
                        seen = frames[t, b, math.floor(y) + i, math.floor(x) + j]
                        grey = digits[which[b, nth], i, j]
                        frames[t, b, math.floor(y) + i, math.floor(x) + j] = max(seen, grey)
    return frames


@pytest.mark.parametrize(("side", "D"), [(16, 7), (24, 10)])
def test_frames_are_those_of_a_slow_loop(side, D):
    digits = np.random.default_rng(1).random((9, D, D)).astype(np.float32)
    fast, slow = (
        draw(np.random.default_rng(7), digits, 6, 20, side) for draw in (draw_frames, slow_frames)
    )
    np.testing.assert_array_equal(fast, slow)
    turned = np.random.default_rng(7)  # 20 steps are enough to meet walls
    turned.integers(9, size=(6, 2))
    start = turned.uniform(0, side - D, (6, 2, 2))
    angle = turned.uniform(0, 2 * np.pi, (6, 2))
    ways = np.stack([np.sin(angle), np.cos(angle)], -1) * side / 16
    assert ((start + 20 * ways < 0) | (start + 20 * ways > side - D)).mean() > 0.3


def test_a_point_stops_at_a_wall_for_a_step_and_turns():
    start, velocity = np.array([5.0, 1.0, 2.0]), np.array([2.0, -1.5, 0.5])
    found = places(start, velocity, 6.0, 4)
    assert found.T.tolist() == [[6, 4, 2, 0], [0, 1.5, 3, 4.5], [2.5, 3, 3.5, 4]]
