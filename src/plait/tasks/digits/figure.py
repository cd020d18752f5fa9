"""Sequences in pictures: input, truth and prediction."""

from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap

from plait.figures import label, picture

GREYS = ListedColormap(np.linspace(0, 1, 256)[:, None].repeat(3, 1)).with_extremes(bad="#d8dde2")
GAP = 2
"""Pixels between frames."""


def draw_sequences(
    given: np.ndarray, truth: np.ndarray, predicted: np.ndarray, path: Path, *, title: str
) -> None:
    """Draw every sequence as three rows of frames: input, truth and prediction.

    Parameters
    ----------
    given : array `[P, B, S, S]`
    truth, predicted : array `[H, B, S, S]`
        From 0, black, to 1, white.
    path : Path
    title : str
    """
    P, B, S, _ = given.shape
    H = len(truth)
    rows = {
        f"input\n1 to {P}": given,
        f"truth\n{P + 1} to {P + H}": truth,
        f"predicted\n{P + 1} to {P + H}": predicted,
    }
    across = max(P, H)
    pitch = S + GAP
    with picture(path, 1.2 + 0.9 * across, 0.6 + 2.9 * B) as figure:
        figure.suptitle(label(title, 12 * across))
        for b, axes in enumerate(figure.subplots(B, 1, squeeze=False)[:, 0]):
            canvas = np.full((pitch * len(rows) - GAP, pitch * across - GAP), np.nan)
            for row, frames in enumerate(rows.values()):
                for column, frame in enumerate(frames[:, b]):
                    top, left = row * pitch, column * pitch
                    canvas[top : top + S, left : left + S] = frame
            axes.imshow(canvas, cmap=GREYS, vmin=0, vmax=1, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([S / 2 + row * pitch for row in range(len(rows))], list(rows))
            axes.tick_params(length=0)
            axes.grid(visible=False)
            axes.spines[:].set_visible(False)
