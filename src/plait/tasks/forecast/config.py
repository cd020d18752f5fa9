"""The configuration of the forecast task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from plait.errors import InputError
from plait.nn.registry import GraphOptions, cell_names, load, operator_names
from plait.tasks.graph_config import GraphConfig
from plait.training.config import SCHEDULE, Schedule, option

SIZES, LARGEST = ((4, 3_000), (8, 10_000), (16, 30_000)), 32
"""Channels of a state, each below so many values to train on; with more, the largest."""

ON_GRAPH = "chebyshev"  # the operator over a graph where none is named

EDGES = "of an edge list in --graph, by its name, or by its number from 1 if there is no header."


@dataclass(frozen=True, kw_only=True)
class ForecastConfig(GraphConfig):
    """Forecast a measurement at every node of a graph.

    Example
    -------
    >>> from plait.tasks.forecast.config import ForecastConfig
    >>> config = ForecastConfig(horizon=12, quantiles="0.1,0.5,0.9")
    >>> config.levels, config.shown
    ((0.1, 0.5, 0.9), (3, 6, 9, 12))
    """

    architecture: ClassVar[Sequence[str]] = (
        "cell", "operator", "k", "heads", "hidden_size", "layers", "history", "horizon", "decoder",
        "skip", "quantiles", "likelihood", "calendar", "node_embedding",
        "adaptive_edges", "adaptive_size", "adaptive_given", "coverage", "seasonal",
        "covariates", "known", "instance_norm",
    )  # fmt: skip
    paths: ClassVar[Sequence[str]] = ("data", "graph", "nodes")
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "los-loop": {
            "data": "los-loop", "calendar": "day", "scale": "all", "batch_size": 8, "steps": 800,
            "error": "huber", "delta": 0.2, "average": 0.99, "node_embedding": 8, "hidden_size": 64,
        },
        "los-loop-learnt": {
            "data": "los-loop", "calendar": "day", "scale": "all", "batch_size": 8, "steps": 400,
            "operator": "adaptive", "adaptive_given": "chebyshev", "node_embedding": 8,
        },
        **{
            name: {
                "data": name, "calendar": "week", "test": 0.2, "validation": validation,
                "error": "absolute", "operator": "adaptive", "adaptive_given": given,
                "node_embedding": 8, "batch_size": 16, "steps": 4000,
            }
            for name, validation, given in (
                ("metr-la", 0.125, "diffusion"), ("pems-bay", 0.125, "diffusion"),
                ("pems04", 0.25, "chebyshev"), ("pems08", 0.25, "chebyshev"),
            )
        },
        "chickenpox": {
            "data": "chickenpox", "history": 4, "horizon": 1, "test": 0.1, "hidden_size": 4,
            "dropout": 0.5, "steps": 400, "lr": 0.02, "validate_every": 20,
        },
        "waves": {
            "data": "waves", "scale": "all", "hidden_size": 48, "batch_size": 16, "steps": 4000,
            "lr": 0.004,
        },
    }  # fmt: skip

    data: str = option(
        "waves",
        "A table (CSV, Parquet or HDF5), a column per node and a row per time; or: waves, "
        "chickenpox, los-loop, metr-la, pems-bay, pems04, pems08.",
    )
    graph: str = option(
        "",
        "The graph: a CSV file (an adjacency, an edge list with source and target, or "
        "places with id and coordinates), or correlation. Default: the data set's own, if any.",
    )
    source: str = option("", f"Column of sources {EDGES} Default: source.")
    target: str = option("", f"Column of targets {EDGES} Default: target.")
    weight: str = option("", f"Column of weights {EDGES} Default: weight, if there is one.")
    neighbours: int = option(
        4, "Nearest nodes that each is connected with, by places or correlation.", least=1
    )
    threshold: float = option(
        0.3, "Nodes are connected where their correlation is above it.", least=0, below=1
    )
    directed: bool = option(False, "Messages go along edges only from source to target.")
    nodes: str = option(
        "",
        "A table (CSV) of what does not change: a column id, and of each node numbers or "
        "categories as further inputs.",
    )
    value: str = option(
        "",
        "The column that is forecast, of a table with a row for each time and node, or of a single "
        "node. Default: the only one.",
    )
    covariates: str = option(
        "",
        "Columns of further inputs, such as temperature,rain: of every node in a table with a row "
        "for each time and node, else shared by all nodes.",
    )
    known: str = option(
        "",
        "Columns of further inputs that are known ahead, such as holiday,event: their rows go on "
        "after the last value, over the horizon.",
    )
    time: str = option("", "The column of times. Default: time, timestamp, date or datetime.")
    missing: str = option(
        "", "Values that mean missing, as empty cells do, such as -9999 or -9999,999."
    )
    encoding: str = option("utf-8", "Encoding of your tables: utf-8, cp1252, latin-1, utf-16, ….")
    missing_rows: Literal["refuse", "empty"] = option(
        "refuse", "Steps without a row: refused, or read as rows of missing values."
    )
    calendar: Literal["none", "day", "week"] = option(
        "none", "Calendar features as inputs: the time of day, or that and the day of the week."
    )
    season: int = option(
        0, "Steps of a season. 0: a day, a week or a year, from the times.", least=0
    )
    seasonal: bool = option(
        False,
        "Forecast the difference from each node's seasonal mean, which is added again "
        "(seasonal adjustment); needs times.",
    )
    history: int = option(12, "Input steps before a forecast.", least=1)
    horizon: int = option(12, "Steps that are forecast.", least=1)
    test: float = option(0.2, "Share of the steps, at the end, for the test set.", least=0, below=1)
    validation: float = option(
        0.1, "Share of the steps before the test set, at their end, for validation.", least=0,
        below=1,
    )  # fmt: skip
    scale: Literal["node", "all"] = option(
        "node", "Standardise (mean 0, variance 1) each node by itself, or all together."
    )
    instance_norm: bool = option(
        False, "Standardise each window of a node, and undo it in the forecast (RevIN)."
    )
    cell: str = option("gru", cell_names())
    operator: str = option(
        "auto",
        "How a node aggregates its neighbours; auto: chebyshev, and without a graph dense, not at "
        "all; adaptive: over a graph that is learnt.",
        choices=lambda: ("auto", *operator_names(), "adaptive"),
    )
    adaptive_edges: int = option(
        20, "Edges into each node of a learnt graph; 0: from all nodes.", least=0
    )
    adaptive_size: int = option(
        10, "Dimension of the node embeddings that a graph is learnt from.", least=1, below=2**20
    )
    adaptive_given: Literal["none", "gcn", "chebyshev", "diffusion"] = option(
        "none", "The operator over the given graph next to a learnt one; none: that alone."
    )
    k: int = option(
        3,
        "Terms of a Chebyshev filter, of diffusion in each direction, or powers of a learnt graph.",
        least=1, below=1001,
    )  # fmt: skip
    node_embedding: int = option(
        0,
        "Dimension of a learnt embedding of each node, a further input by which nodes with the "
        "same values may have different forecasts; 0: none.", least=0, below=2**20,
    )  # fmt: skip
    hidden_size: int = option(
        0,
        "Channels of every layer's state. 0: 4 to 32, by the values to train on.", least=0,
        below=2**20,
    )  # fmt: skip
    layers: int = option(1, "Stacked recurrent layers.", least=1, below=1001)
    dropout: float = option(
        0.0, "Dropout rate of the last state and between layers.", least=0, below=1
    )
    decoder: Literal["direct", "recurrent"] = option(
        "direct",
        "direct: all steps ahead from the last state; recurrent: a second network goes on step by "
        "step.",
    )
    sampling: float = option(
        1000.0,
        "Scheduled sampling: in training the recurrent decoder is fed true values with probability "
        "s / (s + exp(step / s)), else its own forecast; 0: always its own.", least=0,
    )  # fmt: skip
    skip: Literal["best", "linear", "last", "none"] = option(
        "best",
        "What the network's output is added to: the best simple forecast on the validation set; a "
        "linear model of the node's own history; its last value; or nothing.",
    )
    quantiles: str = option(
        "", "Forecast these quantiles, such as 0.1,0.5,0.9. Default: a point forecast, by --error."
    )
    coverage: float = option(
        0.0,
        "Write prediction intervals that cover this share of the values, such as 0.9: conformal "
        "ones, from errors on the validation set. 0: none.", least=0, below=1,
    )  # fmt: skip
    likelihood: Literal["none", "gaussian", "poisson", "negative-binomial"] = option(
        "none",
        "Distribution to forecast; for counts, poisson or negative-binomial. Its mean is written, "
        "with the quantiles of --quantiles, by default 0.1,0.5,0.9.",
    )
    error: Literal["absolute", "huber", "squared"] = option("squared", "Loss of a point forecast.")
    delta: float = option(
        1.0, "Where the Huber loss changes from squared to absolute, in scaled units.", least=1e-6
    )
    batch_size: int = option(32, "Windows of a batch, per process.", least=1)
    steps: int = option(1500, "Weight updates.", least=1)
    lr: float = option(0.003, "Learning rate.", least=0)
    schedule: Schedule = option("cosine", SCHEDULE)

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = self.levels
        if levels and (0.5 not in levels or list(levels) != sorted(set(levels))):
            raise InputError(
                f"--quantiles must rise and have 0.5 among them, as 0.1,0.5,0.9; not "
                f"{self.quantiles!r}"
            )
        if self.likelihood in ("poisson", "negative-binomial") and self.seasonal:
            raise InputError(
                f"--seasonal and --likelihood {self.likelihood} cannot be combined: what is left "
                "of counts is no count; leave --seasonal out, the default knows the season"
            )
        names = (*self.covariate_names, *([self.value] if self.value else []))
        for name in names:
            if names.count(name) > 1:
                raise InputError(
                    f"{name!r} is named twice in --value, --covariates and --known; name it once"
                )
        for name in ("test", "validation"):
            if getattr(self, name) == 0:
                raise InputError(f"--{name} must be more than 0: scores are of steps never seen")

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles; none where one number is forecast."""
        given = self.quantiles or ("" if self.likelihood == "none" else "0.1,0.5,0.9")
        try:
            found = tuple(float(part) for part in given.split(",")) if given else ()
        except ValueError:
            found = (2.0,)
        if not all(0 < level < 1 for level in found):
            raise InputError(
                f"--quantiles must be numbers between 0 and 1, such as 0.1,0.5,0.9, not "
                f"{self.quantiles!r}"
            )
        return found

    def with_size(self, values: int, known: int = 0) -> "ForecastConfig":
        """Return the configuration with a size of the state, chosen by the values to train on.

        `known` is the size of a run that was trained before; 0: there is none.

        >>> from plait.tasks.forecast.config import ForecastConfig
        >>> [ForecastConfig().with_size(values).hidden_size for values in (500, 9_000, 10**6)]
        [4, 8, 32]
        """
        if self.hidden_size:
            return self
        size = known or next((size for size, most in SIZES if values < most), LARGEST)
        if self.operator == "attention":
            size = -(-size // self.heads) * self.heads
        return replace(self, hidden_size=size)

    def with_graph(self, edges: int) -> "ForecastConfig":
        """Return the configuration with the operator that "auto" is over so many edges."""
        chosen = ON_GRAPH if edges or self.graph else "dense"
        return replace(self, operator=chosen) if self.operator == "auto" else self

    @property
    def outputs(self) -> int:
        """Numbers that the network answers for each step and node."""
        if self.likelihood == "none":
            return len(self.levels) or 1
        return 1 if self.likelihood == "poisson" else 2

    @property
    def over_graph(self) -> str:
        """The operator over the given graph; dense: none is used."""
        if self.operator != "adaptive":
            return ON_GRAPH if self.operator == "auto" else self.operator
        return "dense" if self.adaptive_given == "none" else self.adaptive_given

    @property
    def reads_graph(self) -> bool:
        """Whether the given graph is used, by the network and by simple forecasts inside it."""
        return self.over_graph != "dense"

    def make_operator(self, nodes: int) -> Any:
        """Make the operator of a layer over so many nodes."""
        if self.operator != "adaptive":
            return self.graph_options.make()
        given = None
        if self.adaptive_given != "none":
            given = GraphOptions(self.adaptive_given, self.k).make()
        largest = min(self.adaptive_edges, nodes)
        return load("plait.nn.adaptive:Adaptive")(nodes, self.k, self.adaptive_size, largest, given)

    @property
    def known_names(self) -> tuple[str, ...]:
        """The covariates that are known ahead."""
        return _names(self.known)

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """All covariates, those that are known ahead last."""
        return (*_names(self.covariates), *self.known_names)

    @property
    def shown(self) -> tuple[int, ...]:
        """The steps ahead that scores are shown of: the quarters of the horizon."""
        quarters = (-(-self.horizon * quarter // 4) for quarter in (1, 2, 3, 4))
        return tuple(dict.fromkeys(quarters))


def _names(option: str) -> tuple[str, ...]:
    """Return the names that an option lists, with commas between them."""
    return tuple(name.strip() for name in option.split(",") if name.strip())
