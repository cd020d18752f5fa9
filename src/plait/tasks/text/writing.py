"""`plait generate`: what is asked for, checked, and the texts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from plait.errors import InputError
from plait.generation import BLOCK, TextGenerator
from plait.kernels.cpu.rounding import Kind
from plait.tasks.text.config import TextConfig
from plait.tasks.text.inference import cost_of_rounding, mixed_model
from plait.tasks.text.listing import listing
from plait.tasks.text.model import TextModel
from plait.training.run import Run

CANDIDATES = 4
"""Symbols among which contrastive search chooses, where `top_k` does not say."""

LONG = 100_000
"""Symbols beyond which a text is printed while it is generated."""


@dataclass(frozen=True, kw_only=True)
class TextRequest:
    """What `plait generate` is asked to write.

    Attributes
    ----------
    prompts : sequence of str
    length : int
        Symbols after each prompt.
    count : int
        Texts for each prompt.
    stop : sequence of str
        A text ends before the first of these strings in it.
    beams : int or None
        Beam search with so many beams, in place of sampling.
    contrastive : float or None
        Contrastive search with this α, in place of sampling; `top_k` are its candidates.
    stream : bool
        Write one text, symbol by symbol.
    listing : bool
        Write the report's listing.
    mix, cache : bool
        Draw from the network mixed with the n-gram, with a cache, or with both, see
        `plait.tasks.text.mixture`.
    weights : "float32", "bfloat16" or "int8"
    seed : int
    skip_unknown : bool
    sampling : mapping
        `temperature`, `beta`, `greedy`, `top_k`, …; see `plait.sampling.Sampling`.

    Raises
    ------
    InputError
        For options that exclude each other.

    Example
    -------
    >>> from plait.tasks.text.config import TextConfig
    >>> from plait.tasks.text.model import TextModel
    >>> from plait.tasks.text.vocabulary import Characters
    >>> from plait.tasks.text.writing import TextRequest
    >>> model = TextModel(Characters.of("ab"), TextConfig(hidden_size=4))
    >>> [len(piece) for piece in TextRequest(prompts=["a", "b"], length=3).write(model)]
    [6, 5, 6, 5]
    """

    prompts: Sequence[str]
    length: int = 300
    count: int = 1
    stop: Sequence[str] = ()
    beams: int | None = None
    contrastive: float | None = None
    stream: bool = False
    listing: bool = False
    mix: bool = False
    cache: bool = False
    weights: Kind = "float32"
    seed: int = 0
    skip_unknown: bool = False
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ways = {
            "--stream": self.stream, "--listing": self.listing, "--beams": self.beams is not None,
            "--contrastive": self.contrastive is not None,
        }  # fmt: skip
        chosen = [flag for flag, on in ways.items() if on]
        if len(chosen) > 1:
            raise InputError(f"give one of {' and '.join(chosen)}")
        several = self.stream and len(self.prompts) > 1
        if chosen and (self.count != 1 or self.stop or several):
            raise InputError(
                f"{chosen[0]} writes one text to its end; leave out --count and --stop"
            )
        if self.listing and self.weights != "float32":
            raise InputError(
                "--listing shows the weights as they were trained; leave out --weights"
            )
        searched = {n for n, v in self.sampling.items() if v not in (None, False)} - {"top_k"}
        if self.contrastive is not None and (searched or self.mix or self.cache):
            raise InputError(
                "--contrastive searches by the network's states; it can be combined with --top-k, "
                "its candidates, but with no other sampling option, --mix or --cache"
            )
        for flag, on in (("--mix", self.mix), ("--cache", self.cache)):
            if self.listing and on:
                raise InputError(f"--listing shows the network as it was trained; leave out {flag}")
        if self.beams is not None and any(v not in (None, False) for v in self.sampling.values()):
            raise InputError(
                "--beams finds one likely text; it cannot be combined with sampling options"
            )

    def prepared(self, model: TextModel, run: Run) -> tuple[TextGenerator, str]:
        """Return the model rounded and mixed as asked, and what rounding costs, in words."""
        config, cost = TextConfig.from_dict(run.config), ""
        if self.weights != "float32":
            rounded = model.with_weights(self.weights)
            cost = cost_of_rounding(model, rounded, config, run.facts)
            model = rounded
        if self.mix or self.cache:
            return mixed_model(model, config, run.facts, mix=self.mix, cache=self.cache), cost
        return model, cost

    def list_thirds(self, models: Mapping[int, TextModel], run: Run) -> Iterator[str]:
        """Yield the lines of the report's listing, by the models of several steps."""
        accuracy = [record["accuracy"] for record in run.records("train")]
        for line in listing(models, accuracy, self.prompts, self.length, **self._drawn):
            yield f"{line}\n"

    def write(self, model: TextGenerator) -> Iterator[str]:
        """Yield the texts in pieces, prompts included, a line end after each text."""
        alone = len(self.prompts) == 1 and self.count == 1
        if self.stream:
            yield from self._write_at_once(model, 1)
        elif alone and self.length > LONG and not self.stop and self._samples:
            yield from self._write_at_once(model, BLOCK)
        else:
            for prompt in self.prompts:
                for k, text in enumerate(self._texts(model, prompt)):
                    if not alone:
                        yield f"--- {k}\n"
                    yield f"{text}\n"

    @property
    def _samples(self) -> bool:
        return self.beams is None and self.contrastive is None

    @property
    def _drawn(self) -> dict[str, Any]:
        return {"seed": self.seed, "skip_unknown": self.skip_unknown, **self.sampling}

    def _texts(self, model: TextGenerator, prompt: str) -> list[str]:
        if self.contrastive is not None:
            candidates = self.sampling.get("top_k") or CANDIDATES
            return [
                model.contrastive_search(
                    prompt, self.length, alpha=self.contrastive, candidates=candidates,
                    skip_unknown=self.skip_unknown,
                )
            ]  # fmt: skip
        if self.beams is None:
            return model.generate(
                prompt, self.length, count=self.count, stop=self.stop, **self._drawn
            )
        return [
            model.beam_search(prompt, self.length, beams=self.beams, skip_unknown=self.skip_unknown)
        ]

    def _write_at_once(self, model: TextGenerator, at_once: int) -> Iterator[str]:
        """Yield one text while it is generated, so many symbols at a time."""
        (prompt,) = self.prompts
        symbols = model.stream(prompt, self.length, at_once=at_once, **self._drawn)
        yield model.clean_prompt(prompt, skip_unknown=self.skip_unknown)
        while pieces := list(islice(symbols, at_once)):
            yield "".join(pieces)
        yield "\n"
