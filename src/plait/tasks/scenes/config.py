"""The configuration of the scenes task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from plait.errors import InputError
from plait.nn.registry import operator_names
from plait.tasks.graph_config import GraphConfig
from plait.training.config import SCHEDULE, Schedule, option


@dataclass(frozen=True, kw_only=True)
class ScenesConfig(GraphConfig):
    """Predict how the objects of an image are related.

    Example
    -------
    >>> from plait.tasks.scenes.config import ScenesConfig
    >>> ScenesConfig(operator="attention").heads
    4
    """

    architecture: ClassVar[Sequence[str]] = ("operator", "hidden_size", "layers", "heads", "k")

    data: str = option(
        "generated",
        "generated: drawn images with known rules; or a JSON file of detected objects and their "
        "relations, COCO-style (see plait.tasks.scenes.files).",
    )
    scenes: int = option(
        1000, "Scenes to generate; 70 % to train, 15 % to validate, the rest to test.", least=3
    )
    operator: str = option(
        "gcn", "How objects and pairs exchange messages; dense: not at all.", choices=operator_names
    )
    hidden_size: int = option(64, "Features of an object and of a pair.", least=1, below=2**20)
    layers: int = option(2, "Rounds of messages.", least=1, below=1001)
    batch_size: int = option(16, "Scenes of a batch, per process.", least=1)
    steps: int = option(400, "Weight updates.", least=1)
    schedule: Schedule = option("cosine", SCHEDULE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data:
            raise InputError("--data is empty; give a JSON file, or generated")
