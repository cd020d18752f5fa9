"""Which steps are trained on, validated on, and tested on."""

from dataclasses import dataclass

from plait.errors import InputError
from plait.tasks.forecast.config import ForecastConfig


@dataclass(frozen=True)
class TimeSplits:
    """Steps at which validation and test begin: a forecast belongs where its steps lie.

    The first `history` steps are input only. Of those after them the last share is for the test,
    and of the rest the last share for validation. The input of a forecast may lie in the
    part before; what is forecast never does.
    """

    history: int
    valid: int
    test: int
    end: int

    @classmethod
    def of(cls, config: ForecastConfig, steps: int) -> "TimeSplits":
        """Split so many steps."""
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
