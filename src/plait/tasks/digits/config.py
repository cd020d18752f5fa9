"""The configuration of the digits task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from plait.errors import InputError
from plait.training.config import SCHEDULE, Schedule, TrainingConfig, option

SIZES: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("small", "gcrn"): {"frame": 32, "patch": 4, "hidden_size": 48, "layers": 1, "lr": 0.01},
    ("small", "lstm"): {"frame": 32, "patch": 4, "hidden_size": 256, "layers": 2, "lr": 0.003},
    ("paper", "gcrn"): {"frame": 64, "patch": 4, "hidden_size": 256, "layers": 1, "lr": 0.001},
    ("paper", "lstm"): {"frame": 64, "patch": 4, "hidden_size": 2048, "layers": 2, "lr": 0.001},
}
"""What a size means for a network where nothing else is said."""

OF_SIZE = "0: as --size says."


@dataclass(frozen=True, kw_only=True)
class DigitsConfig(TrainingConfig):
    """Predict the next frames of two digits that move within a frame.

    Example
    -------
    >>> from plait.tasks.digits.config import DigitsConfig
    >>> paper = DigitsConfig(size="paper")
    >>> paper.frame, paper.digit, paper.nodes, paper.hidden_size
    (64, 28, 256, 256)
    """

    architecture: ClassVar[Sequence[str]] = (
        "size", "network", "order", "patch", "hidden_size", "layers",
    )  # fmt: skip
    subject: ClassVar[str] = "digits"
    paths: ClassVar[Sequence[str]] = ("digits",)

    digits: str = option(
        "scikit-learn",
        "Digits that move: scikit-learn (1,797 of 8 × 8), mnist (its IDX files), or an IDX file "
        "of images, .gz or not.",
    )
    size: Literal["small", "paper"] = option(
        "small",
        "small: frames of 32 × 32, what one core learns in minutes; paper: 64 × 64 and the widths "
        "of the paper.",
    )
    network: Literal["gcrn", "lstm"] = option(
        "gcrn",
        "gcrn: a peephole LSTM over the graph of a frame's patches; lstm: the same, fully "
        "connected, over the whole frame.",
    )
    order: int = option(3, "Terms K of gcrn's Chebyshev filter.", least=1, below=1001)
    neighbours: int = option(8, "Nearest patches that each is connected with, of gcrn.", least=1)
    frame: int = option(0, f"Side of a frame in pixels. {OF_SIZE}", least=0, below=1025)
    patch: int = option(0, f"Side of a patch, a node of gcrn's graph. {OF_SIZE}", least=0)
    hidden_size: int = option(0, f"Channels of a state. {OF_SIZE}", least=0, below=2**20)
    layers: int = option(0, f"Stacked recurrent layers. {OF_SIZE}", least=0, below=1001)
    history: int = option(10, "Input frames.", least=1, below=10_001)
    horizon: int = option(10, "Frames that are predicted.", least=1, below=10_001)
    batch_size: int = option(8, "Sequences of a batch, per process.", least=1)
    steps: int = option(3000, "Weight updates.", least=1)
    schedule: Schedule = option("cosine", SCHEDULE)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in SIZES[self.size, self.network].items():
            if getattr(self, name) == 0:
                object.__setattr__(self, name, value)
        if self.frame < LEAST:
            raise InputError(f"--frame must be at least {LEAST}, not {self.frame}")
        if self.frame % self.window:
            raise InputError(
                f"--patch {self.patch} must divide --frame {self.frame}: a frame is cut into whole "
                "patches"
            )
        if self.network == "gcrn" and self.neighbours >= self.nodes:
            raise InputError(
                f"--neighbours {self.neighbours} must be less than the {self.nodes} patches of a "
                "frame; make it or --patch smaller"
            )

    @property
    def digit(self) -> int:
        """Side of a digit: of a frame as 28 of 64."""
        return round(self.frame * 28 / 64)

    @property
    def window(self) -> int:
        """Side of what a node sees: a patch, or for the fully connected network all."""
        return self.patch if self.network == "gcrn" else self.frame

    @property
    def nodes(self) -> int:
        """How many of them there are in a frame."""
        return (self.frame // self.window) ** 2


LEAST = 16
"""Smallest frame: its digits are 7 × 7."""
