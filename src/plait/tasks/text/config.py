"""The configuration of the text task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from plait.errors import InputError
from plait.nn.registry import cell_names
from plait.training.config import TrainingConfig, option

VOCABULARY_OPTIONS = {"vocabulary": ("words", "bpe"), "word_graph": ("words",), "k": ("words",)}
"""Options, and the units that have them."""


@dataclass(frozen=True, kw_only=True)
class TextConfig(TrainingConfig):
    """Learn a text. The defaults are Table 1 of the report, with the state carried along.

    Example
    -------
    >>> from plait.tasks.text.config import TextConfig
    >>> TextConfig(cell="gru").hidden_size
    128
    """

    architecture: ClassVar[Sequence[str]] = (
        "cell", "hidden_size", "layers", "embedding_size", "tied", "units", "word_graph",
        "k",
    )  # fmt: skip
    milestones: ClassVar[int] = 6
    """Sixths, which the report's listing 6 shows; listings 1 to 5 show every second one."""

    exact_recipes: ClassVar[Sequence[str]] = ("report",)

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "report": {"batches": "windows", "keep_boilerplate": True},
        "good": {
            "hidden_size": 256,
            "embedding_size": 64,
            "length": 60,
            "batch_size": 32,
            "schedule": "linear",
            "warmup": 100,
            "lr": 0.008,
            "steps": 900,
        },
    }

    data: str = option(
        "presidents",
        "A text, a folder of them, or: democracy, grimm, presidents, python-docs, ptb.",
    )
    encoding: str = option("utf-8", "Encoding of your text: utf-8, cp1252, latin-1, utf-16, ….")
    units: Literal["chars", "bytes", "bpe", "words"] = option(
        "chars",
        "Tokens: characters, bytes (never out of vocabulary), bpe (byte-pair encoding: frequent "
        "strings of bytes), or words and punctuation.",
    )
    vocabulary: int = option(
        10_000,
        "Of words: how many are known, the most frequent of the training set; all others are one "
        "unknown word, which counts among them. Of byte pairs: how many symbols at most.",
        least=2,
    )
    word_graph: int = option(
        0,
        "Connect each word with so many nearest by distributional similarity, and smooth the "
        "input over this graph (GCRN, Model 1); 0: no graph.",
        least=0,
    )
    k: int = option(
        3, "Terms of the Chebyshev filter over the graph of words.", least=1, below=1001
    )
    keep_boilerplate: bool = option(
        False, "Keep Project Gutenberg's header and licence and the byte-order mark."
    )
    cell: str = option("lstm", cell_names())
    hidden_size: int = option(128, "Channels of every layer's state.", least=1, below=2**20)
    layers: int = option(2, "Stacked recurrent layers.", least=1, below=1001)
    embedding_size: int = option(128, "Embedding dimension.", least=1, below=2**20)
    tied: bool = option(
        False, "One matrix for embedding and output (embedding size = hidden size)."
    )
    length: int = option(30, "Symbols of a training sequence.", least=1)
    batch_size: int = option(64, "Sequences of a batch, per process.", least=1)
    batches: Literal["lanes", "windows"] = option(
        "lanes",
        "lanes: each sequence of a batch is a stream of the text that carries its state on; "
        "windows: random places, state zero.",
    )
    dropout: float = option(
        0.0, "Dropout rate of each layer's inputs and outputs.", least=0, below=1
    )
    recurrent_dropout: float = option(
        0.0, "Recurrent dropout rate, of the states.", least=0, below=1
    )
    init: Literal["orthogonal", "torch", "kaiming"] = option("orthogonal", "Initial weights.")
    steps: int = option(
        3000,
        "Training steps. Where none are given, a training set of more than a million symbols has "
        "in proportion more of them.",
        least=1,
    )
    lr: float = option(0.002, "Learning rate.", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, units in VOCABULARY_OPTIONS.items():
            if self.units not in units and getattr(self, name) != getattr(TextConfig, name):
                raise InputError(
                    f"--{name.replace('_', '-')} is for --units {' or '.join(units)} alone"
                )
        if self.tied and self.embedding_size != self.hidden_size:
            raise InputError(
                f"--tied needs --embedding-size ({self.embedding_size}) and --hidden-size "
                f"({self.hidden_size}) to be the same"
            )

    @property
    def monitor(self) -> str:
        """Bits per character, or of words the perplexity."""
        return "perplexity" if self.units == "words" else "bits_per_character"
