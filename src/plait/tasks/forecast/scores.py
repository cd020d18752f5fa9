"""How far forecasts are from what came, step by step ahead; missing values count nowhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

METRICS = ("mae", "rmse", "mape")


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of a part of the series, in its units.

    Attributes
    ----------
    first : integer array `[W]`
        The step at which each forecast begins.
    values : float array `[H, W, N]`, with quantiles `[H, W, N, Q]`
        Of a distribution its mean, then its quantiles, `[H, W, N, 1 + Q]`.
    truth : float array `[H, W, N]`
        NaN where nothing was measured or the part is at its end.
    network : float array as `values`, or None
        What the network itself forecast, where `values` are its combination with simple forecasts.
    loss : float
        The network's mean loss.
    """

    first: np.ndarray
    values: np.ndarray
    truth: np.ndarray
    levels: tuple[float, ...] = ()
    network: np.ndarray | None = None
    loss: float = float("nan")

    @property
    def own(self) -> "Forecasts":
        """The forecasts of the network itself."""
        return self if self.network is None else replace(self, values=self.network, network=None)

    @property
    def middle(self) -> np.ndarray:
        """One number for each: a distribution's mean, or the median of quantiles."""
        if self.levels and self.values.shape[-1] > len(self.levels):
            return self.values[..., 0]
        return self.values[..., self.levels.index(0.5)] if self.levels else self.values

    @property
    def quantiles(self) -> np.ndarray:
        """The quantiles; without any, the values."""
        return self.values[..., -len(self.levels) :] if self.levels else self.values


@dataclass(frozen=True)
class Errors:
    """Errors of forecasts 1 … H steps ahead, in the units of the data.

    `mae`: mean absolute error; `rmse`: root mean squared error; `mape`: mean absolute error as a
    share of the absolute value, over values other than 0. NaN where there is nothing to score.

    Attributes
    ----------
    at : mapping of float array `[H]`
        At each step ahead.
    upto : mapping of float array `[H]`
        Over all steps from the first to each, every forecast counting the same.
    """

    at: Mapping[str, np.ndarray]
    upto: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, forecast: np.ndarray, truth: np.ndarray) -> "Errors":
        """Score forecasts `[H, W, N]` of W windows.

        >>> import numpy as np
        >>> from plait.tasks.forecast.scores import Errors
        >>> truth = np.array([[[2.0, np.nan]], [[4.0, 0.0]]])
        >>> errors = Errors.of(np.array([[[1.0, 9.0]], [[4.0, 3.0]]]), truth)
        >>> errors.at["mae"].tolist(), errors.upto["mape"].tolist()
        ([1.0, 1.5], [0.5, 0.25])
        """
        seen = ~np.isnan(truth)
        off = np.where(seen, np.abs(forecast - truth), 0.0)
        whole = seen & (truth != 0)
        share = np.divide(off, np.abs(truth), out=np.zeros_like(off), where=whole)
        sums = {
            "mae": (_by_step(off), _by_step(seen)),
            "rmse": (_by_step(off**2), _by_step(seen)),
            "mape": (_by_step(share), _by_step(whole)),
        }
        with np.errstate(invalid="ignore", divide="ignore"):
            at = {name: total / count for name, (total, count) in sums.items()}
            upto = {n: total.cumsum() / count.cumsum() for n, (total, count) in sums.items()}
            for means in (at, upto):
                means["rmse"] = np.sqrt(means["rmse"])
        return cls(at, upto)

    def overall(self) -> dict[str, float]:
        """Return each metric over all steps; those that there is nothing for are left out."""
        found = {name: float(values[-1]) for name, values in self.upto.items()}
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def record(self) -> dict[str, list[float | None]]:
        """Return all of it as JSON values: `mae_at`, `mae_to`, …, a number a step."""
        both = {"at": self.at, "to": self.upto}
        return {
            f"{name}_{kind}": [float(v) if np.isfinite(v) else None for v in values[name]]
            for name in METRICS
            for kind, values in both.items()
        }


def node_errors(forecast: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return every node's root mean squared error over all steps, `[N]`; NaN without a value."""
    seen = ~np.isnan(truth)
    squared = np.where(seen, (forecast - truth) ** 2, 0.0).sum((0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(squared / seen.sum((0, 1)))


def quantile_scores(
    forecast: np.ndarray, truth: np.ndarray, levels: Sequence[float]
) -> dict[str, float]:
    r"""Score quantiles `[H, W, N, Q]`.

    Returns
    -------
    dict
        `pinball`: mean over quantiles q of max(q e, (q − 1) e), e = truth − forecast (Koenker &
        Bassett 1978), in the units of the data; `crps`: the continuous ranked probability score,
        2 ∫ pinball(q) dq (Gneiting & Raftery 2007), by the quantiles, each for the levels next to
        it; `coverage`: the share of values from the lowest to the highest quantile, and
        `coverage_wanted`, what it should be.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.forecast.scores import quantile_scores
    >>> truth = np.array([[[1.0, 2.0, 3.0, 4.0]]])
    >>> quantiles = np.broadcast_to([1.5, 2.5, 3.5], (1, 1, 4, 3))
    >>> quantile_scores(quantiles, truth, (0.1, 0.5, 0.9))["coverage"]
    0.5
    """
    seen = ~np.isnan(truth)
    e = truth[..., None] - forecast
    q = np.array(levels)
    pinball = np.maximum(q * e, (q - 1) * e)[seen].mean(0)  # [Q]
    bounds = np.concatenate([[0.0], (q[1:] + q[:-1]) / 2, [1.0]])
    within = (truth >= forecast[..., 0]) & (truth <= forecast[..., -1])
    return {
        "pinball": float(pinball.mean()),
        "crps": float(2 * pinball @ np.diff(bounds)),
        "coverage": float(within[seen].mean()),
        "coverage_wanted": levels[-1] - levels[0],
    }


def band_scores(
    low: np.ndarray, high: np.ndarray, truth: np.ndarray, coverage: float
) -> dict[str, float]:
    r"""Score bands `[H, W, N]` that should hold a share of the values.

    Returns
    -------
    dict
        `band_coverage`: the share that they hold; `band_width`: their mean width;
        `interval_score`: the mean of width + 2/α (low − y)₊ + 2/α (y − high)₊, α = 1 − coverage
        (Gneiting & Raftery 2007, equation 43), smaller is better.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.forecast.scores import band_scores
    >>> truth = np.array([[[1.0, 5.0]]])
    >>> band_scores(np.zeros((1, 1, 2)), np.full((1, 1, 2), 4.0), truth, 0.5)
    {'band_coverage': 0.5, 'band_width': 4.0, 'interval_score': 6.0}
    """
    seen = ~np.isnan(truth)
    low, high, y = low[seen], high[seen], truth[seen]
    off = np.maximum(low - y, 0) + np.maximum(y - high, 0)
    return {
        "band_coverage": float((off == 0).mean()),
        "band_width": float((high - low).mean()),
        "interval_score": float((high - low + 2 / (1 - coverage) * off).mean()),
    }


CELL = 7
"""Places of a number in the table."""


def table(records: Mapping[str, Mapping[str, Sequence[float | None]]], shown: Sequence[int]) -> str:
    """Set errors side by side as text: whose, at a few steps, and over the steps up to them.

    With four steps it fits into 80 columns.
    """
    width = max(map(len, records)) + 2
    at, to = (
        "".join(f"{text:>{CELL}}" for text in texts)
        for texts in (
            [f"step {h}" if k == 0 else h for k, h in enumerate(shown)],
            [f"1–{h}" for h in shown],
        )
    )
    lines = []
    for metric in METRICS:
        unit = ", %" if metric == "mape" else ""
        lines.append(f"{metric.upper() + unit:<{width}}{at}  {to}")
        for name, record in records.items():
            cells = [
                "".join(_cell(record[f"{metric}_{kind}"][h - 1], metric) for h in shown)
                for kind in ("at", "to")
            ]
            lines.append(f"  {name:<{width - 2}}{cells[0]}  {cells[1]}")
    return "\n".join(lines)


def _cell(value: float | None, metric: str) -> str:
    """Write a number in seven places, the first of which is empty."""
    if value is None:
        return f"{'-':>{CELL}}"
    value = 100 * value if metric == "mape" else value
    texts = (format(value, form) for form in (".4g", ".3g", ".0f", ".0e"))
    return f"{next((text for text in texts if len(text) < CELL), 'huge'):>{CELL}}"


def gain(ours: float, theirs: float, name: str = "the network") -> str:
    """State which has the smaller error, and by how much: as a share, or else as a difference.

    >>> from plait.tasks.forecast.scores import gain
    >>> gain(3.0, 4.0)
    'the network wins by 25.0%'
    >>> gain(4.4, 4.0)
    'it wins by 10.0%: take it, or train longer, or try another --operator'
    >>> gain(0.5, 1e-12)
    'it wins by 0.5: take it, or train longer, or try another --operator'
    >>> gain(0.0, 0.0)
    'neither makes an error'
    """
    if ours == theirs:
        return "neither makes an error" if ours == 0 else "both errors are equal"
    if ours < theirs:
        return f"{name} wins by {1 - ours / theirs:.1%}"
    return f"it wins by {above(ours, theirs)}: take it, or train longer, or try another --operator"


def above(large: float, small: float) -> str:
    """Write how far an error is above a smaller one: as a share, of one near 0 as a difference."""
    return f"{large / small - 1:.1%}" if large <= 10 * small else f"{large - small:.4g}"


def _by_step(values: np.ndarray) -> np.ndarray:
    return values.sum((1, 2))
