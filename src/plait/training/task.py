"""What the loop asks of a task. A task is one class with these names."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from plait.training.config import TrainingConfig

Carry = tuple[Tensor, ...]
"""What one batch hands to the next, such as a recurrent state; empty where there is nothing."""


class Task(Protocol):
    """A problem to train on: data, model, loss and scores.

    Attributes
    ----------
    name : str
    config : TrainingConfig
    model : nn.Module
    unit : str
        What the speed counts, in the plural: "characters".
    units_per_step : int
    criterion : str
        The name of the validation score that decides which weights are kept.
    lower_is_better : bool
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    criterion: ClassVar[str]
    lower_is_better: ClassVar[bool]
    config: TrainingConfig
    model: nn.Module
    units_per_step: int

    def facts(self) -> Mapping[str, Any]:
        """JSON values that rebuild the model without the data, and the data's hash."""
        ...

    def begin_with(self, model: Any) -> None:
        """Take over the weights of a model that was trained before."""
        ...

    def summary(self) -> dict[str, str]:
        """What a person wants to know before it starts, by headings."""
        ...

    def start(self) -> Carry:
        """Return the carry before the first batch."""
        ...

    def loss(self, step: int, carry: Carry) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Return the loss of batch `step` (1, 2, …), scores of the batch, and the next carry.

        Which batch it is depends on the seed and the step alone, so a stopped run goes on
        without any loader's state.
        """
        ...

    def validate(self) -> Mapping[str, float]:
        """Scores on the validation part."""
        ...

    def test(self) -> Mapping[str, float]:
        """Scores on the test part; called once, with the weights that did best."""
        ...

    def remark(self, scores: Mapping[str, float]) -> str:
        """Say in plain words what the test scores mean beside the baseline's."""
        ...

    def sample(self, step: int) -> str:
        """A short text that shows what the model does by now; empty for none."""
        ...

    def draw(self, records: list[dict[str, Any]], path: Any) -> None:
        """Draw the learning curves from the log's records into a PNG."""
        ...
