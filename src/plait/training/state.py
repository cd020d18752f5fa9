"""What changes while a run goes on, and so what a checkpoint holds."""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from torch import Tensor

from plait.training.pacing import Pace


@dataclass
class TrainingState:
    """The state of a training, except weights and optimizer."""

    carry: tuple[Tensor, ...]
    best: float
    """The validation score of the weights that are kept."""
    best_step: int = 0
    step: int = 0
    seconds: float = 0.0
    best_loss: float = math.inf
    """The validation loss with `best`, which decides between equals where scores are smoothed."""
    converged_step: int = 0
    """The first step at which a validation left nothing to learn; 0: not yet."""
    pace: Pace | None = None
    """What was measured to plan a training of so many minutes; None: its steps were given."""
    steps: int = 0
    """The steps planned last, with a pace."""
    since: tuple[int, float] = (0, 0.0)
    """The step at which they were planned, and the share of the schedule behind it."""

    def facts(self) -> dict[str, Any]:
        """Return all but the carry as JSON values."""
        best, best_loss = (x if math.isfinite(x) else None for x in (self.best, self.best_loss))
        planned = {}
        if self.pace is not None:
            planned = {"pace": astuple(self.pace), "steps": self.steps, "since": self.since}
        return planned | {
            "step": self.step, "best": best, "best_step": self.best_step, "seconds": self.seconds,
            "converged_step": self.converged_step, "best_loss": best_loss,
        }  # fmt: skip

    def update(self, facts: Mapping[str, Any]) -> None:
        """Take over what `facts` returned; a run of version 0.1.0 may have fewer."""
        self.step, self.best_step, self.seconds = (
            facts[name] for name in ("step", "best_step", "seconds")
        )
        self.best = self.best if facts["best"] is None else facts["best"]
        self.converged_step = facts.get("converged_step", 0)
        best_loss = facts.get("best_loss")
        self.best_loss = math.inf if best_loss is None else best_loss
        if "pace" in facts:
            first, share = facts["since"]
            self.pace, self.steps, self.since = Pace(*facts["pace"]), facts["steps"], (first, share)
