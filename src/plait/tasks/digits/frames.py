"""Frames on which digits move, after Srivastava et al. (2015) and Shi et al. (2015)."""

import numpy as np

MOVING = 2
"""Digits in a frame."""

SPEED = (3 / 64, 5 / 64)
"""Slowest and fastest step of a digit, as a share of the frame's side."""


def draw_frames(
    random: np.random.Generator, digits: np.ndarray, count: int, steps: int, side: int
) -> np.ndarray:
    """Draw sequences in which two digits move, each on its own line, and bounce off the walls.

    Digits, places and directions are all as likely; a digit's speed is between 3 and 5 pixels a
    step on 64 × 64, as in Shi et al. (2015), and in proportion on other frames. The rest is as
    Srivastava et al. (2015) drew them: a digit that would go through a wall stops at it for that
    step and turns; it is drawn at whole pixels, the place rounded down; where the two overlap, the
    brighter is seen.

    Parameters
    ----------
    random : Generator
    digits : array `[n, D, D]`
        From 0 to 1.
    count, steps, side : int
        Sequences B, frames T and their side S in pixels, more than D.

    Returns
    -------
    float32 array `[T, B, S, S]`

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.digits.frames import draw_frames
    >>> frames = draw_frames(np.random.default_rng(0), np.ones((1, 7, 7)), 5, 20, 16)
    >>> frames.shape, bool((frames.sum((2, 3)) <= 2 * 7 * 7).all())
    ((20, 5, 16, 16), True)
    """
    D = digits.shape[-1]
    which = random.integers(len(digits), size=(count, MOVING))
    start = random.uniform(0, side - D, (count, MOVING, 2))
    angle = random.uniform(0, 2 * np.pi, (count, MOVING))
    speed = random.uniform(*SPEED, (count, MOVING)) * side
    velocity = speed[..., None] * np.stack([np.sin(angle), np.cos(angle)], -1)
    corner = places(start, velocity, side - D, steps).astype(int)  # [T, B, 2, (row, column)]
    frames = np.zeros((steps, count, side, side), np.float32)
    t, b = np.arange(steps)[:, None, None, None], np.arange(count)[:, None, None]
    for nth in range(MOVING):
        row = corner[:, :, nth, 0, None, None] + np.arange(D)[:, None]  # [T, B, D, 1]
        column = corner[:, :, nth, 1, None, None] + np.arange(D)  # [T, B, 1, D]
        shown = digits[which[:, nth]]  # [B, D, D]
        frames[t, b, row, column] = np.maximum(frames[t, b, row, column], shown)
    return frames


def places(start: np.ndarray, velocity: np.ndarray, room: float, steps: int) -> np.ndarray:
    """Return where points are after 1, 2, … steps, `[T, …]`, that turn at the walls 0 and `room`.

    >>> import numpy as np
    >>> from plait.tasks.digits.frames import places
    >>> places(np.array([3.0]), np.array([2.0]), 6, 5).ravel().tolist()
    [5.0, 6.0, 4.0, 2.0, 0.0]
    """
    place, found = start, []
    for _ in range(steps):
        place = place + velocity
        velocity = np.where((place < 0) | (place > room), -velocity, velocity)
        place = place.clip(0, room)
        found.append(place)
    return np.stack(found)
