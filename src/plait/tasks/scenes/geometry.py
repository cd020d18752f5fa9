"""What can be seen of two boxes: distances, gaps, overlaps, proportions."""

import numpy as np

GEOMETRY = ("dx", "dy", "distance", "gap_x", "gap_y", "iou", "inside", "around", "wider", "higher")
"""The numbers that `geometry` gives for a pair, in their order."""


def geometry(boxes: np.ndarray, pairs: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    r"""Describe pairs of boxes s, o by ten numbers that do not change with the image's scale.

    With D = √(W H) of the image, u the mean of √(w h) of the two boxes, and centres c:

    - dx, dy = (c_o − c_s) / D; distance = |c_o − c_s| / D
    - gap_x, gap_y: what lies between the boxes along each axis, in u; negative where they overlap
    - iou = |s ∩ o| / |s ∪ o|; inside = |s ∩ o| / |s|; around = |s ∩ o| / |o|
    - wider = log(w_o / w_s), higher = log(h_o / h_s)

    Parameters
    ----------
    boxes : array `[N, 4]`
        x, y, width, height in pixels.
    pairs : integer array `[2, P]`
        Subjects and objects.
    size : tuple of float
        W and H in pixels.

    Returns
    -------
    array `[P, 10]`

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.scenes.geometry import geometry
    >>> boxes = np.array([[0.0, 0, 10, 10], [20, 0, 10, 10]])
    >>> geometry(boxes, np.array([[0], [1]]), (100.0, 100.0)).round(2).tolist()
    [[0.2, 0.0, 0.2, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    s, o = boxes[pairs[0]], boxes[pairs[1]]  # [P, 4]
    apart = (o[:, :2] + o[:, 2:] / 2 - s[:, :2] - s[:, 2:] / 2) / np.sqrt(size[0] * size[1])
    gap = np.maximum(o[:, :2] - s[:, :2] - s[:, 2:], s[:, :2] - o[:, :2] - o[:, 2:])  # [P, 2]
    area_s, area_o = s[:, 2:].prod(1), o[:, 2:].prod(1)
    unit = (np.sqrt(area_s) + np.sqrt(area_o)) / 2
    ends = np.minimum(s[:, :2] + s[:, 2:], o[:, :2] + o[:, 2:])
    shared = (ends - np.maximum(s[:, :2], o[:, :2])).clip(min=0).prod(1)
    shares = shared[:, None] / np.stack([area_s + area_o - shared, area_s, area_o], 1)
    proportions = np.log(o[:, 2:] / s[:, 2:])
    distance = np.hypot(*apart.T)
    return np.column_stack([apart, distance, gap / unit[:, None], shares, proportions])
