"""The configuration of the memory task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from plait.errors import InputError
from plait.nn.registry import cell_names
from plait.training.config import TrainingConfig, option

REPORT: dict[str, dict[str, Any]] = {
    "baum-sweet": {"lr": 1e-4, "batch_size": 256, "hidden_size": 256, "embedding_size": 3},
    "random-combinations": {"lr": 1e-3, "steps": 2000, "batch_size": 128, "hidden_size": 128},
    "binary-palindrome": {"lr": 1e-4, "steps": 3000, "batch_size": 256, "hidden_size": 256},
}
"""Settings of the report and its course, problem by problem."""

REPORT_STEPS = {4: 3000, 5: 2000, 6: 1000}
"""Steps of the report's LSTM by the length of Baum–Sweet; its GRU had 1000 for each."""


@dataclass(frozen=True, kw_only=True)
class MemoryConfig(TrainingConfig):
    """Answer a question about a sequence after having read it.

    Example
    -------
    >>> from plait.tasks.memory.config import MemoryConfig
    >>> config = MemoryConfig.of({"length": 5, "cell": "gru-course"}, "report")
    >>> config.steps, config.hidden_size, config.lr
    (1000, 256, 0.0001)
    """

    architecture: ClassVar[Sequence[str]] = (
        "problem", "cell", "bidirectional", "hidden_size", "layers", "embedding_size",
    )  # fmt: skip
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "report": {"init": "kaiming", "max_norm": 10.0, "seed": 2019},
    }
    subject: ClassVar[str] = "problem"

    problem: Literal[
        "baum-sweet", "random-combinations", "binary-palindrome", "recall", "adding"
    ] = option(
        "baum-sweet",
        "What is asked. baum-sweet: whether all runs of zeros in a binary number are even; "
        "random-combinations: the missing token; binary-palindrome: its last bit; recall: the "
        "first of 8 symbols; adding: the sum of the two marked numbers.",
    )
    length: int = option(
        4, "Decimal digits, tokens, or digits of a palindrome; blanks (recall), steps (adding)."
    )
    cell: str = option(
        "lstm",
        f"{cell_names()} Those of the report's course: lstm-course, gru-course, peephole-course.",
    )
    bidirectional: bool = option(False, "Read in both directions.")
    hidden_size: int = option(128, "Channels of every layer's state.", least=1)
    layers: int = option(1, "Stacked recurrent layers.", least=1, below=1001)
    embedding_size: int = option(64, "Embedding dimension.", least=1)
    batch_size: int = option(128, "Sequences of a batch, per process.", least=1)
    eval_lengths: str = option(
        "", "Test on these lengths too, e.g. 8,10,12, never having trained on them."
    )
    init: Literal["orthogonal", "torch", "kaiming"] = option("orthogonal", "Initial weights.")
    until_converged: bool = option(
        False, "Stop at the first validation, of ten new batches, without an error."
    )
    steps: int = option(3000, "Weight updates.", least=1)
    lr: float = option(0.001, "Learning rate.", least=0)
    validate_every: int = option(20, "Steps between validations; 0: a tenth of all.", least=0)

    def __post_init__(self) -> None:
        from plait.tasks.memory.problems import problem_named  # NumPy, which --help can do without

        super().__post_init__()
        for length in (self.length, *self.other_lengths):
            problem_named(self.problem, length)
        longest = max(self.other_lengths, default=0)
        if self.problem == "random-combinations" and longest > self.length:
            raise InputError(
                f"--eval-lengths {longest} has tokens that a network of --length {self.length} "
                f"does not know; give at most {self.length}"
            )

    @classmethod
    def of(cls, options: Mapping[str, Any], recipe: str | None = None) -> Self:
        """Make the configuration; the recipe "report" depends on problem, length and cell."""
        if recipe != "report":
            return super().of(options, recipe)
        problem = options.get("problem", cls.problem)
        own = REPORT.get(problem)
        if own is None:
            raise InputError(
                f"--recipe report has no settings for --problem {problem}; it has them for "
                f"{', '.join(REPORT)}"
            )
        if problem == "baum-sweet":
            lstm = str(options.get("cell", cls.cell)).startswith("lstm")
            length = options.get("length", cls.length)
            own = {**own, "steps": REPORT_STEPS.get(length, 3000) if lstm else 1000}
        return super().of({**own, **options}, recipe)

    @property
    def other_lengths(self) -> tuple[int, ...]:
        """Lengths that it is tested on besides its own."""
        return lengths_of(self.eval_lengths)

    def converged(self, scores: Mapping[str, float]) -> bool:
        """Return whether a validation, ten fresh batches in a row, had no error."""
        return scores["accuracy"] == 1


def lengths_of(text: str) -> tuple[int, ...]:
    """Read lengths such as "8,10,12"; `InputError` for anything else.

    >>> from plait.tasks.memory.config import lengths_of
    >>> lengths_of("8,10,12")
    (8, 10, 12)
    """
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise InputError(f"lengths must be numbers such as 8,10,12, not {text!r}") from None
