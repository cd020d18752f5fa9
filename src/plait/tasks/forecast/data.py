"""What a forecast is learnt from: a series, its graph, and which steps are for what."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from plait.columns import missing_texts
from plait.data import require_data
from plait.errors import InputError
from plait.json_files import read_json
from plait.nn.graph import Graph
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.graphs import Joined, correlated, read_graph
from plait.tasks.forecast.series import Series, read_series
from plait.tasks.forecast.waves import Waves

NAMED = ("waves", "chickenpox", "los-loop")


@dataclass(frozen=True)
class Cuts:
    """Steps at which validation and test begin: a forecast belongs where its steps lie.

    The first `history` steps are only heard. Of those after them the last share is for the test,
    and of the rest the last share for validation. What is heard before a forecast may lie in the
    part before; what is forecast never does.
    """

    history: int
    valid: int
    test: int
    end: int

    @classmethod
    def of(cls, config: ForecastConfig, steps: int) -> "Cuts":
        """Cut so many steps."""
        first = config.history
        test = first + int(max(0, steps - first) * (1 - config.test))
        valid = first + int((test - first) * (1 - config.validation))
        return cls(first, valid, test, steps)

    def require(self, horizon: int, source: str) -> None:
        """Refuse a series in which a part is shorter than a forecast."""
        lengths = {
            "train on": self.valid - self.history,
            "validate on": self.test - self.valid,
            "test on": self.end - self.test,
        }
        for use, length in lengths.items():
            if length < horizon:
                raise InputError(
                    f"{source} has {self.end} steps, too few: after --history {self.history}, "
                    f"{max(0, length)} are left to {use}, and --horizon {horizon} needs that many; "
                    "give more steps, or less history or horizon"
                )


@dataclass(frozen=True)
class Measured:
    """A series with its graph; of waves, the process too."""

    series: Series
    joined: Joined
    cuts: Cuts
    waves: Waves | None = None

    @property
    def training(self) -> np.ndarray:
        """The steps to train on, `[T, N]`."""
        return self.series.values[: self.cuts.valid]


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
    >>> measured.series.values.shape, measured.cuts
    ((12000, 48), Cuts(history=12, valid=8643, test=9602, end=12000))
    """
    waves = Waves.drawn() if config.data == "waves" else None
    series, own = _series(config, waves)
    cuts = Cuts.of(config, len(series.values))
    cuts.require(config.horizon, series.source)
    if config.calendar != "none" and series.times is None:
        raise InputError(
            f"--calendar {config.calendar} needs times, and {series.source} has no column of "
            "them; name it with --time"
        )
    if config.season > cuts.valid:
        raise InputError(
            f"--season {config.season} is longer than the {cuts.valid} steps of {series.source} to "
            "train on; make it shorter"
        )
    _require_values(series, cuts, config)
    return Measured(series, own or _joined(config, series, cuts), cuts, waves)


def _require_values(series: Series, cuts: Cuts, config: ForecastConfig) -> None:
    """Refuse a series in which a part has nothing to learn from, to choose by or to score."""
    measured = np.any(~np.isnan(series.values), axis=1)
    parts = {
        "train": (cuts.history, cuts.valid, "give more history without gaps, or less --history"),
        "validate": (cuts.valid, cuts.test, f"change --validation {config.validation:g}"),
        "test": (cuts.test, cuts.end, f"change --test {config.test:g}"),
    }
    for use, (begin, end, mend) in parts.items():
        if not measured[begin:end].any():
            last = int(np.flatnonzero(measured)[-1]) + 1 if measured.any() else 0
            raise InputError(
                f"{series.source} has no value in the part to {use} on, steps {begin + 1} to {end}"
                f" of {cuts.end} (the last value is in step {last}); take steps without values "
                f"out at the end, or {mend}"
            )


def _series(config: ForecastConfig, waves: Waves | None) -> tuple[Series, Joined | None]:
    """Read the series, and its own graph where it has one and no other is asked for."""
    if waves is not None:
        ids = tuple(str(n) for n in range(waves.graph.num_nodes))
        series, own = Series("waves", "waves on a graph, generated", ids, waves.values), Joined(
            waves.graph, "nearest 4 of 48 places", waves.places
        )  # fmt: skip
    elif config.data in NAMED:
        series, own = {"chickenpox": _chickenpox, "los-loop": _los_loop}[config.data]()
    else:
        path = Path(config.data)
        if not path.exists():
            raise InputError(
                f"no series {config.data!r}: there is no such file, and it is not one of "
                f"{', '.join(NAMED)}"
            )
        series = read_series(
            path, config.time, missing=missing_texts(config.missing),
            fill=config.missing_rows == "empty", encoding=config.encoding,
        )  # fmt: skip
        own = None
    return series, None if config.graph else own


def _joined(config: ForecastConfig, series: Series, cuts: Cuts) -> Joined:
    N = len(series.ids)
    if config.graph == "correlation":
        training = series.values[: cuts.valid]
        if config.neighbours >= N:
            raise InputError(f"--neighbours {config.neighbours} must be less than the {N} nodes")
        joined = correlated(training, config.neighbours, config.threshold)
        if joined.graph.num_edges == 0 and config.operator != "dense":
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
    if config.operator == "dense":
        return Joined(Graph([], num_nodes=N), "none")
    raise InputError(
        f"{series.source} does not say who is joined to whom: give --graph FILE or --graph "
        "correlation, or --operator dense"
    )


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
