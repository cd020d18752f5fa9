"""`Task`: a problem to train on. What the loop, the commands and `plait compare` ask is here."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from plait.errors import InputError
from plait.training.pacing import Pace
from plait.training.ranks import current_ranks

Carry = tuple[Tensor, ...]
"""What one batch hands to the next, such as a recurrent state; empty where there is nothing."""


class Task(ABC):
    """A problem to train on: its data, model, loss and scores.

    A task says how its data is read (`read_data`), which examples make a batch (`batch`), what
    their loss is (`loss`), and how the model scores on validation (`validate`) and on the test set
    (`own_scores`). All else has a default.

    Parameters
    ----------
    config : TrainingConfig
    device : torch.device
    known : mapping
        The facts of a run whose model is to be fitted to this data; None: there is none.
    model : nn.Module
        A trained model; None: a new one, its weights drawn from torch's generator.

    Attributes
    ----------
    name : str
    model_class : type of nn.Module
        Its `from_facts(config, facts)` rebuilds the model without the data.
    unit : str
        What the speed counts, in the plural: "characters".
    units_per_step : int
        Their number in a batch.
    monitor : str
        The name of the validation score that decides which weights are kept.
    lower_is_better : bool
        Whether a smaller one is better.
    source : str
        What error messages call the data.
    notes : sequence of str
        How the data was read, where that is not obvious.
    without_graph : mapping
        The options that take the graph out of the model; empty: there is no ablation.
    instead : str
        What to do where the data of a trained model has changed, other than to put it back: an
        error message.
    unlike : str
        What differs where the weights of another run do not fit: an error message.
    ranks : Ranks
        The processes that train together.
    splits_batches : bool
        Whether each of them has a part of the batch of its own; otherwise all have the same batch
        and make the same step.
    prepares_ahead : bool
        Whether a batch takes so long that a thread computes it during the step before.
    pace : Pace or None
        What was measured to plan a training of so many minutes.
    """

    name: ClassVar[str]
    model_class: ClassVar[Any]
    unit: str
    monitor: str = "loss"
    lower_is_better: ClassVar[bool] = True
    without_graph: ClassVar[Mapping[str, Any]] = {}
    instead: ClassVar[str] = "train anew"
    unlike: str = "that run's model has other sizes"
    source: str = "the data"
    notes: Sequence[str] = ()
    splits_batches: bool = False
    prepares_ahead: bool = False
    pace: Pace | None = None
    units_per_step: int
    config: Any
    model: Any

    def __init__(
        self,
        config: Any,
        device: torch.device,
        known: Mapping[str, Any] | None = None,
        model: Any = None,
    ) -> None:
        self.config, self.device, self.ranks = config, device, current_ranks()
        self.read_data(known or {})
        self.model = (self.make_model() if model is None else model).to(device)

    @classmethod
    def restore(cls, model: nn.Module, config: Any, facts: Mapping[str, Any]) -> Self:
        """Return the task of a run with its data and its trained model.

        Raises
        ------
        InputError
            Where the data is gone, or is not what the run was trained on.
        """
        task = cls(config, device_of(model), facts, model)
        task.require_same(facts, cls.instead)
        return task

    def require_same(self, facts: Mapping[str, Any], instead: str = "train anew") -> None:
        """Refuse data that is not what a run with these facts was trained on."""
        own = self.facts()
        changed = ", ".join(name for name in own if own[name] != facts.get(name))
        if changed:
            raise InputError(
                f"{self.source} is no longer what the run was trained on ({changed} differ); put "
                f"it back, or {instead}"
            )

    @abstractmethod
    def read_data(self, known: Mapping[str, Any]) -> None:
        """Read the data and split it; `known` are the facts of the run to begin from, if any."""

    def make_model(self) -> Any:
        """Make the model with its initial weights."""
        return self.model_class.from_facts(self.config, self.facts())

    def facts(self) -> Mapping[str, Any]:
        """Return JSON values that rebuild the model without the data, and the data's hash."""
        return {}

    def default_steps(self) -> int:
        """Return the steps of a training for which none are given; more data may need more."""
        return self.config.steps

    def sizes_for(
        self, minutes: float, seconds_per_step: float, fixed: Collection[str]
    ) -> Mapping[str, Any]:
        """Return the options that suit a training of so many minutes, such as the model's size.

        `seconds_per_step` is what a step of the present configuration takes on this machine.
        `fixed` are the options that are kept.
        """
        return {}

    def search(self, seconds: float, fixed: Collection[str]) -> Mapping[str, Any]:
        """Return the options that suit the data, found in at most so many seconds by trainings.

        Without a time for the training there are 0 seconds, and the data alone decides. `fixed` are
        the options that are kept.
        """
        return {}

    def load_pretrained(self, model: nn.Module) -> None:
        """Take over the weights of a model that was trained before, of the same shapes."""
        own, other = self.model.state_dict(), model.state_dict()
        if {k: w.shape for k, w in own.items()} != {k: w.shape for k, w in other.items()}:
            raise InputError(f"--from: {self.unlike}; leave --from out")
        self.model.load_state_dict(other)

    def summary(self) -> dict[str, str]:
        """Return what a user wants to know before training starts, by headings."""
        return {"model": f"{count_weights(self.model):,} parameters"}

    def start(self) -> Carry:
        """Return the carry before the first batch."""
        return ()

    @abstractmethod
    def batch(self, step: int) -> Any:
        """Return the examples of batch `step` (1, 2, …), a function of the seed and the step.

        With `splits_batches` it is this process's part of the batch of all: `self.ranks.part`.
        """

    @abstractmethod
    def loss(
        self, model: Any, batch: Any, carry: Carry
    ) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Return the loss of a batch, scores of it, and the next carry."""

    def terms(self, batch: Any) -> Tensor | float:
        """Return how many terms the loss of a batch is a mean of.

        It is the weight of a process's gradient; equal parts may have any number in common.
        """
        return 1.0

    @abstractmethod
    def validate(self) -> Mapping[str, float]:
        """Return the scores of the model on the validation set."""

    @abstractmethod
    def own_scores(self) -> Mapping[str, Any]:
        """Return the scores of the model on the test set."""

    def baselines(self) -> Mapping[str, Any]:
        """Return the scores on the test set of what needs no model of this task."""
        return {}

    def test(self) -> dict[str, Any]:
        """Return own scores and baselines'.

        It is called once in a run, with the weights that did best on validation. Those of the
        model without the graph come behind them (`plait.training.ablation.scores_with_ablation`).
        """
        return {**self.own_scores(), **self.ranks.first(self.baselines)}

    def interpret(self, scores: Mapping[str, Any]) -> str:
        """Return in plain words what the test scores mean next to the baselines'."""
        return ""

    def sample(self, step: int) -> str:
        """Return a short text that shows what the model does by now; empty: none."""
        return ""

    def title(self, test: Mapping[str, Any] | None) -> str:
        """Return the title of the pictures; `test` are the test's scores, once known."""
        return f"{self.name}: {self.config.subject_name}"

    def curves(self, test: Mapping[str, Any] | None) -> Sequence[Any]:
        """Return the `plait.figures.Curve`s to draw; `test` are the test's scores, once known."""
        from plait.figures import Curve  # brings matplotlib

        return [Curve("loss", "loss")]

    def draw(self, records: list[dict[str, Any]], path: Path) -> None:
        """Draw the learning curves of the log's records as a PNG, and what `draw_tested` does."""
        from plait.figures import draw_curves  # brings matplotlib

        test = next((r for r in records if r["kind"] == "test"), None)
        if test is not None:
            with torch.no_grad():
                self.draw_tested(test, path.parent)
        draw_curves(records, self.curves(test), path, title=self.title(test))

    def draw_tested(self, test: Mapping[str, Any], folder: Path) -> None:  # noqa: B027
        """Draw more pictures into the run folder once the test is done."""


def device_of(model: nn.Module) -> torch.device:
    """Return where a model computes."""
    return next(model.parameters()).device


def count_weights(model: nn.Module) -> int:
    """Return the number of a model's parameters."""
    return sum(p.numel() for p in model.parameters())
