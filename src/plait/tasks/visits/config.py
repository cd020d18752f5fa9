"""The configuration of the visits task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from plait.errors import InputError
from plait.nn.registry import GraphOptions, cell_names, operator_names
from plait.training.config import SCHEDULE, Schedule, TrainingConfig, option

GENERATED = "generated"

HEADS = 4
"""Heads of attention."""

MINUTE = 1 / 60
"""Hours."""


@dataclass(frozen=True, kw_only=True)
class VisitsConfig(TrainingConfig):
    """Predict the drugs of a patient's next period. A research tool, not medical advice.

    Example
    -------
    >>> from plait.tasks.visits.config import VisitsConfig
    >>> VisitsConfig(view="graph").operator
    'chebyshev'
    """

    architecture: ClassVar[Sequence[str]] = (
        "view", "cell", "operator", "hidden_size", "graph_layers", "window",
    )  # fmt: skip
    paths: ClassVar[Sequence[str]] = ("data", "interactions")
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "mimic3demo": {
            "data": "mimic3demo",
            "batch_size": 8,
            "dropout": 0.5,
            "lr": 0.003,
            "steps": 100,
            "validate_every": 5,
        },
    }

    data: str = option(
        GENERATED,
        "generated: histories by known rules. Else a CSV table of events (patient, time or visit, "
        "kind, code; end and birth if known), a folder with MIMIC-III's own files, or mimic3demo.",
    )
    encoding: str = option("utf-8", "Encoding of your tables: utf-8, cp1252, latin-1, utf-16, ….")
    patients: int = option(1000, "Patients to generate.", least=20, below=1_000_001)
    period_hours: float = option(
        24.0, "Length of a period, where the events have times; 0: a visit.", least=0,
        below=1_000_001,
    )  # fmt: skip
    interactions: str = option(
        "", "Drugs that interact: a CSV file whose first two columns are codes of drugs."
    )
    related: int = option(
        3,
        "Codes of the previous period that each code is connected with, by the training set.",
        least=0,
    )
    split_seed: int = option(
        0, "Random seed of the split into patients to train, validate and test on.", least=0
    )
    view: Literal["both", "sequence", "graph"] = option(
        "both", "Input: the sequence of a patient's states, the graph of events, or both."
    )
    cell: str = option("gru", cell_names())
    operator: str = option(
        "chebyshev", "Graph operator over events; dense: none.", choices=operator_names
    )
    hidden_size: int = option(
        64, "Channels of a code, a patient's state and an event.", least=1, below=2**20
    )
    graph_layers: int = option(2, "Layers over the graph of events.", least=1, below=1001)
    window: int = option(2, "Periods that the graph of events reaches back.", least=1, below=1001)
    dropout: float = option(0.1, "Dropout rate of inputs.", least=0, below=1)
    batch_size: int = option(16, "Patients of a batch, per process.", least=1)
    k: int = option(10, "Drugs of recall@k.", least=1)
    steps: int = option(800, "Weight updates.", least=1)
    lr: float = option(0.005, "Learning rate.", least=0)
    schedule: Schedule = option("cosine", SCHEDULE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.interactions and self.data == GENERATED:
            raise InputError(
                "--interactions needs --data: generated patients have interactions of their own"
            )
        if 0 < self.period_hours < MINUTE:
            raise InputError(
                f"--period-hours must be 0 or at least a minute, {MINUTE:.3f}, not "
                f"{self.period_hours}"
            )
        if self.operator == "attention" and self.hidden_size % HEADS:
            raise InputError(
                f"--hidden-size {self.hidden_size} must be a multiple of attention's {HEADS} heads"
            )

    @property
    def graph_options(self) -> GraphOptions:
        """What makes the operator."""
        return GraphOptions(self.operator, 1 if self.operator == "diffusion" else 2, HEADS)
