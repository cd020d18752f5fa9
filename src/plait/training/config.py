"""The options of every training. The fields are the command line's flags."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args, get_origin

from plait.errors import InputError
from plait.renamed import RenamedAttribute


def option(
    default: Any,
    text: str,
    *,
    least: float | None = None,
    below: float | None = None,
    choices: Callable[[], Sequence[str]] | None = None,
):
    """Make a field of a configuration.

    Parameters
    ----------
    default
    text : str
        The help.
    least, below : float
        The range of numbers that it allows.
    choices : function
        Returns the names that it allows, where these are not fixed in a `Literal`.
    """
    limits = {"least": least, "below": below, "choices": choices}
    return field(default=default, metadata={"help": text, **limits})


def choices_of(option: Field[Any]) -> tuple[Any, ...]:
    """Return the values that a field of a configuration allows; empty: it has no such list."""
    if get_origin(option.type) is Literal:
        return get_args(option.type)
    choices = option.metadata.get("choices")
    return () if choices is None else tuple(choices())


Schedule = Literal["constant", "cosine", "linear", "wsd"]

SCHEDULE = (
    "Learning rate over time: constant, cosine annealing, linear decay to 0, or wsd (warm-up, "
    "stable, decay): constant, then linear decay to 0 in the last third."
)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The loop's own options; a task's configuration adds its own fields.

    Raises `InputError` for a value that is out of its range.
    """

    architecture: ClassVar[Sequence[str]] = ()
    """Options that must match those of the run whose weights training starts from (--from)."""

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named sets of options; other options that a user gives override them."""

    exact_recipes: ClassVar[Collection[str]] = ()
    """Those whose steps do not depend on the data."""

    subject: ClassVar[str] = "data"
    """The option that a run folder is called after."""

    paths: ClassVar[Sequence[str]] = ("data",)
    """The options that may be a path."""

    milestones: ClassVar[int] = 3
    """The number of equal parts of the training; weights are kept at the end of each."""

    until_converged = False
    """Whether to stop where `converged` is first true; an option of tasks that can say so."""

    patience = 0
    """Steps without a better validation after which to stop, 0: none; an option of some tasks."""

    smoothing = 1
    """Validations in a row whose mean score decides which weights are kept, those of the last of
    them; 1 where a single one is no matter of chance."""

    steps: int = option(1000, "Training steps, a weight update each.", least=1)
    lr: float = option(0.001, "Learning rate.", least=0)
    minutes: float = option(
        0.0,
        "Train for so many minutes, in place of --steps: steps, and what else the task can choose, "
        "follow from a short measurement of this machine.",
        least=0,
    )
    optimizer: Literal["adamw", "muon"] = option(
        "adamw",
        "muon: orthogonalised updates for the matrices of recurrent layers, each gate's by itself, "
        "and AdamW for the rest.",
    )
    schedule: Schedule = option("constant", SCHEDULE)
    warmup: int = option(0, "Steps in which the learning rate rises from 0.", least=0)
    weight_decay: float = option(
        0.0, "Decoupled weight decay (AdamW) of the matrices, per step and unit of lr.", least=0
    )
    max_norm: float = option(
        5.0, "Gradient clipping: the largest norm of all gradients; 0: none.", least=0
    )
    average: float = option(
        0.0,
        "Score and keep an exponential moving average of the weights with this factor, e.g. 0.999.",
        least=0,
        below=1,
    )
    validate_every: int = option(0, "Steps between validations; 0: a tenth of all.", least=0)
    save_every: float = option(60.0, "Seconds between checkpoints.", least=0)
    seed: int = option(0, "Random seed of initial weights, batches and dropout.", least=0)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where to compute; auto: a GPU if any.")
    precision: Literal["float32", "bfloat16"] = option(
        "float32",
        "Matrix products in training: bfloat16 by autocast, with states and sums in float32.",
    )
    threads: int = option(0, "CPU threads; 0: torch's choice.", least=0, below=1025)
    log: Literal["none", "tensorboard"] = option(
        "none", "Write curves, samples and gradient norms into the run folder for TensorBoard too."
    )

    def __post_init__(self) -> None:
        for f in fields(self):
            _check(f, getattr(self, f.name))

    criterion = RenamedAttribute("monitor")

    @property
    def monitor(self) -> str:
        """The validation score that weights are chosen by, where options decide it; or nothing."""
        return ""

    @property
    def subject_name(self) -> str:
        """What it is trained on, in a word: the subject's value, of a path the last part.

        >>> from plait.tasks.text.config import TextConfig
        >>> TextConfig(data="/books/emma.txt").subject_name
        'emma'
        """
        return Path(str(getattr(self, self.subject, ""))).stem

    def ends_of_parts(self, parts: int) -> set[int]:
        """Return the last step of each of so many equal parts of the training.

        >>> from plait.training.config import TrainingConfig
        >>> sorted(TrainingConfig(steps=20).ends_of_parts(3))
        [6, 13, 20]
        """
        return {max(1, self.steps * k // parts) for k in range(1, parts + 1)}

    def converged(self, scores: Mapping[str, float]) -> bool:
        """Return whether these validation scores leave nothing to learn.

        False, unless a task's configuration has a rule of its own, as that of "memory" has.
        """
        return False

    @classmethod
    def of(cls, options: Mapping[str, Any], recipe: str | None = None) -> Self:
        """Make the configuration from options, on top of a recipe's if one is named.

        The `paths` are kept from the root, so that a run finds its data from any folder.
        """
        if recipe is not None and recipe not in cls.recipes:
            raise InputError(f"no recipe {recipe!r}; there are {', '.join(cls.recipes) or 'none'}")
        if options.get("minutes") and "steps" in options:
            raise InputError("--minutes chooses the steps; leave out --minutes or --steps")
        values = {**(cls.recipes[recipe] if recipe else {}), **options}
        for name in cls.paths:
            given = values.get(name)
            if given and isinstance(given, str) and (path := Path(given)).exists():
                values[name] = str(path.parent.resolve() / path.name)
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make the configuration from JSON values; unknown names are refused."""
        known = {f.name: f for f in fields(cls)}
        for name in values:
            if name not in known:
                raise InputError(f"no option named {name!r}; there are {', '.join(known)}")
        missing = [n for n, f in known.items() if f.default is MISSING and n not in values]
        if missing:
            raise InputError(f"option {missing[0]!r} is missing")
        return cls(**values)


def _check(option: Field[Any], value: Any) -> None:
    """Refuse a value of the wrong kind or out of range, in one line."""
    flag, limits = "--" + option.name.replace("_", "-"), option.metadata
    kind: Any = option.type
    if choices := choices_of(option):
        if value not in choices:
            raise InputError(f"{flag} must be {' or '.join(choices)}, not {value!r}")
        return
    number = kind in (int, float)
    allowed = (int, float) if kind is float else kind
    if not isinstance(value, allowed) or (number and isinstance(value, bool)):
        raise InputError(f"{flag} must be {kind.__name__}, not {value!r}")
    if not number:
        return
    if value != value or abs(value) == math.inf:  # JSON has neither
        raise InputError(f"{flag} must be a finite number, not {value}")
    least, below = limits.get("least"), limits.get("below")
    if kind is int and below is None:
        below = 2**63  # torch and NumPy count no further
    if least is not None and value < least:
        raise InputError(f"{flag} must be at least {least}, not {value}")
    if below is not None and value >= below:
        raise InputError(f"{flag} must be less than {below}, not {value}")
