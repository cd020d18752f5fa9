"""What a forecast is learnt from: a series, its graph, and which steps are for what."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from plait.columns import missing_texts
from plait.data import require_data
from plait.errors import InputError
from plait.graph_data.features import read_features
from plait.json_files import read_json
from plait.nn.graph import Graph
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.graphs import Joined, correlated, read_graph
from plait.tasks.forecast.series import Series, read_series
from plait.tasks.forecast.splits import TimeSplits
from plait.tasks.forecast.traffic import KNOWN, read_traffic
from plait.tasks.forecast.waves import Waves

NAMED = ("waves", "chickenpox", "los-loop", *KNOWN)

GIVEN = "give one by --graph FILE, connect what is correlated by --graph correlation"
WAYS = f"{GIVEN}, or learn one by --operator adaptive"
"""How a series comes to a graph."""


@dataclass(frozen=True)
class Measured:
    """A series with its graph; of waves, the process too.

    `static [N, S]` are the features of the nodes that do not change; None: there are none.
    """

    series: Series
    joined: Joined
    splits: TimeSplits
    waves: Waves | None = None
    static: np.ndarray | None = None
    static_notes: tuple[str, ...] = ()

    def cut(self, splits: TimeSplits) -> "Measured":
        """Return what was measured before the end of other splits."""
        return replace(
            self, series=self.series.rows(slice(0, splits.end)), splits=splits, waves=None
        )

    @property
    def training(self) -> np.ndarray:
        """Return the steps to train on, `[T, N]`."""
        return self.series.values[: self.splits.valid]


def read_data(config: ForecastConfig) -> Measured:
    """Read what a configuration names.

    Raises
    ------
    InputError
        For files that cannot be read, nodes that are not in both series and graph, and a series
        too short.

    Example
    -------
    >>> from plait.tasks.forecast.config import ForecastConfig
    >>> from plait.tasks.forecast.data import read_data
    >>> measured = read_data(ForecastConfig(data="waves"))
    >>> measured.series.values.shape, measured.splits
    ((12000, 48), TimeSplits(history=12, valid=8643, test=9602, end=12000))
    """
    if config.data in NAMED and (config.covariate_names or config.value):
        raise InputError(
            f"--data {config.data} has no columns for --value, --covariates or --known; give a "
            "table of your own"
        )
    waves = Waves.drawn() if config.data == "waves" else None
    series, own = _series(config, waves)
    splits = TimeSplits.of(config, len(series.values))
    splits.require(config.horizon, series.source)
    if config.calendar != "none" and series.times is None:
        raise InputError(
            f"--calendar {config.calendar} needs times, and {series.source} has no column of "
            "them; name it with --time"
        )
    if config.season > splits.valid:
        raise InputError(
            f"--season {config.season} is longer than the {splits.valid} steps of {series.source} "
            "to train on; make it shorter"
        )
    _require_values(series, splits, config)
    joined = own or _joined(config, series, splits)
    if not config.nodes:
        return Measured(series, joined, splits, waves)
    features, notes = read_features(
        Path(config.nodes), series.ids, missing_texts(config.missing), config.encoding
    )
    return Measured(series, joined, splits, waves, features.numpy(), notes)


def _require_values(series: Series, splits: TimeSplits, config: ForecastConfig) -> None:
    """Refuse a series in which a part has nothing to learn from, to choose by or to score."""
    measured = np.any(~np.isnan(series.values), axis=1)
    parts = {
        "train": (
            splits.history,
            splits.valid,
            "give more history without gaps, or less --history",
        ),
        "validate": (splits.valid, splits.test, f"change --validation {config.validation:g}"),
        "test": (splits.test, splits.end, f"change --test {config.test:g}"),
    }
    for use, (begin, end, fix) in parts.items():
        if not measured[begin:end].any():
            last = int(np.flatnonzero(measured)[-1]) + 1 if measured.any() else 0
            raise InputError(
                f"{series.source} has no value in the part to {use} on, steps {begin + 1} to {end}"
                f" of {splits.end} (the last value is in step {last}); take steps without values "
                f"out at the end, or {fix}"
            )


def _series(config: ForecastConfig, waves: Waves | None) -> tuple[Series, Joined | None]:
    """Read the series, and its own graph where it has one and no other is asked for."""
    if waves is not None:
        ids = tuple(str(n) for n in range(waves.graph.num_nodes))
        series, own = Series("waves", "waves on a graph, generated", ids, waves.values), Joined(
            waves.graph, "nearest 4 of 48 places", waves.places
        )  # fmt: skip
    elif config.data in NAMED:
        named = {"chickenpox": _chickenpox, "los-loop": _los_loop}
        read = named.get(config.data, partial(read_traffic, config.data))
        series, own = read()
    else:
        path = Path(config.data)
        if not path.exists():
            raise InputError(
                f"no series {config.data!r}: there is no such file, and it is not one of "
                f"{', '.join(NAMED)}"
            )
        series, own = own_series(config, path), None
    return series, None if config.graph else own


def own_series(
    config: ForecastConfig, path: Path, frequency: str | None = None, encoding: str = ""
) -> Series:
    """Read a table of the user's as a configuration says, with its covariates."""
    return read_series(
        path, config.time, frequency, missing=missing_texts(config.missing),
        fill=config.missing_rows == "empty", encoding=encoding or config.encoding,
        value=config.value, covariates=config.covariate_names, known=len(config.known_names),
    )  # fmt: skip


def _joined(config: ForecastConfig, series: Series, splits: TimeSplits) -> Joined:
    N = len(series.ids)
    if config.graph == "correlation":
        training = series.values[: splits.valid]
        if config.neighbours >= N:
            raise InputError(f"--neighbours {config.neighbours} must be less than the {N} nodes")
        joined = correlated(training, config.neighbours, config.threshold)
        if joined.graph.num_edges == 0 and config.over_graph != "dense":
            raise InputError(
                f"no two nodes of {series.source} have a correlation above --threshold "
                f"{config.threshold:g}; lower it, or take --operator dense"
            )
        return joined
    if config.graph:
        columns = {"source": config.source, "target": config.target, "weight": config.weight}
        return read_graph(
            Path(config.graph),
            series.ids,
            config.neighbours,
            config.directed,
            columns,
            config.encoding,
        )
    if config.reads_graph and config.operator != "auto":
        learnt = config.operator == "adaptive"
        asked, ways = ("--adaptive-given", GIVEN) if learnt else ("--operator", WAYS)
        raise InputError(
            f"{series.source} has no graph for {asked} {config.over_graph}: {ways}, or leave "
            f"{asked} out"
        )
    alone = f"none: every node is forecast from its own values; {WAYS}"
    source = alone if config.reads_graph and N > 1 else "none is used"
    return Joined(Graph([], num_nodes=N), source)


def _chickenpox() -> tuple[Series, Joined]:
    path = require_data("series/chickenpox.json", "of Rozemberczki et al. (2021)")
    content = read_json(path)
    try:
        number = content["node_ids"]
        ids = tuple(sorted(number, key=number.__getitem__))
        values = np.array(content["FX"], dtype=float)
        graph = Graph.from_edges(content["edges"], num_nodes=len(ids)).to_undirected()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged or another file: {error!r}") from None
    times = pd.date_range("2005-01-03", periods=len(values), freq="W-MON")
    series = Series("chickenpox", f"{path}, standardised cases a week", ids, values, times)
    return series, Joined(graph, "counties with a common border")


def _los_loop() -> tuple[Series, Joined]:
    whence = "of the T-GCN repository (Zhao et al. 2019)"
    series = read_series(require_data("series/los_speed.csv", whence))
    times = pd.date_range("2012-03-01", periods=len(series.values), freq="5min")
    joined = read_graph(require_data("series/los_adj.csv", whence), series.ids, 0)
    return Series("los-loop", series.source, series.ids, series.values, times), joined
