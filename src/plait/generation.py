"""Generate text from a prompt, one symbol at a time."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Self, get_args, overload

import torch
from torch import Tensor, nn

from plait.decoding import (
    CompiledLoop,
    Decoding,
    Vocabulary,
    beam_search,
    before_stop,
    contrastive_search,
    require_memory_for,
)
from plait.errors import InputError
from plait.kernels.cpu.rounding import Kind, rounded
from plait.renamed import renamed_names
from plait.sampling import Sampling, require

State = tuple[Tensor, ...]

BLOCK = 64
"""Symbols drawn between two checks whether all texts have ended."""


class TextGenerator(nn.Module):
    """A model of the next symbol that can generate text.

    A subclass has a `vocabulary`, a `forward(numbers [T, B], state)` that returns logits
    `[T, B, V]` and the state, and `first_logits(count)` for the first symbol of a text.
    """

    vocabulary: Vocabulary
    weights: Kind = "float32"
    """The number format that the matrices are rounded to."""

    def with_weights(self, weights: Kind) -> Self:
        """Return the model with its matrices rounded, except those of embeddings.

        Everything is computed in float32 with the rounded numbers. The compiled loop of `generate`
        reads them in their stored size, 2 bytes or 1, so a large model, whose speed is limited by
        memory bandwidth, generates faster.

        Parameters
        ----------
        weights : "float32", "bfloat16" or "int8"
            float32: the model itself. bfloat16: 8 significant bits. int8: 255 levels per row of
            a matrix, between ± its largest absolute value.

        Raises
        ------
        InputError
            For other names, and for a model that is already rounded.

        Example
        -------
        >>> from plait.tasks.text.config import TextConfig
        >>> from plait.tasks.text.model import TextModel
        >>> from plait.tasks.text.vocabulary import Characters
        >>> small = TextModel(Characters.of("ab"), TextConfig(hidden_size=4)).with_weights("int8")
        >>> small.output.weight.unique().numel() <= 2 * 255
        True
        """
        kinds = get_args(Kind)
        if weights not in kinds:
            raise InputError(
                f"weights must be {', '.join(kinds[:-1])} or {kinds[-1]}, not {weights}"
            )
        if weights == self.weights:
            return self
        if self.weights != "float32":
            raise InputError(f"the model's weights are {self.weights}; round the original model")
        model = copy.deepcopy(self)
        model.weights = weights
        with torch.no_grad():
            for module in model.modules():
                for p in module.parameters(recurse=False):
                    if p.ndim == 2 and not isinstance(module, nn.Embedding):
                        p.copy_(rounded(p, weights))
        return model

    def clean_prompt(self, prompt: str, *, skip_unknown: bool = False) -> str:
        r"""Return a prompt with `\n` as its line ends, as in training texts.

        With `skip_unknown` it is without symbols that are not in the vocabulary.
        """
        prompt = prompt.replace("\r\n", "\n").replace("\r", "\n")
        return self.vocabulary.known(prompt) if skip_unknown else prompt

    def compiled(self, state: Tensor | State | None, count: int) -> CompiledLoop | None:
        """Return a compiled loop for `count` texts, started from a state; None: there is none."""
        return None

    def first_logits(self, count: int) -> Tensor:
        """Return the logits of a text's first symbol, `[count, V]`."""
        raise NotImplementedError

    @overload
    def generate(
        self, prompt: str = "", length: int = 200, *, count: None = None, seed: int = 0,
        stop: Sequence[str] = (), skip_unknown: bool = False, weights: Kind | None = None,
        temperature: float | None = None, beta: float | None = None, greedy: bool = False,
        top_k: int | None = None, top_p: float | None = None, min_p: float | None = None,
        typical_p: float | None = None, mirostat: float | None = None,
        no_repeat: int | None = None, repetition_penalty: float | None = None,
    ) -> str: ...  # fmt: skip

    @overload
    def generate(
        self, prompt: str = "", length: int = 200, *, count: int, seed: int = 0,
        stop: Sequence[str] = (), skip_unknown: bool = False, weights: Kind | None = None,
        temperature: float | None = None, beta: float | None = None, greedy: bool = False,
        top_k: int | None = None, top_p: float | None = None, min_p: float | None = None,
        typical_p: float | None = None, mirostat: float | None = None,
        no_repeat: int | None = None, repetition_penalty: float | None = None,
    ) -> list[str]: ...  # fmt: skip

    def generate(
        self,
        prompt: str = "",
        length: int = 200,
        *,
        count: int | None = None,
        seed: int = 0,
        stop: Sequence[str] = (),
        skip_unknown: bool = False,
        weights: Kind | None = None,
        **sampling: Any,
    ) -> str | list[str]:
        """Return a prompt and its generated continuation.

        Parameters
        ----------
        prompt : str
            Read once; its final state is carried on. Empty: start from the zero state.
        length : int
            Symbols to generate after the prompt.
        count : int
            The number of texts. Text k of seed s draws from its own random stream (s, k), so it
            does not depend on the other texts (except if a draw falls within rounding error of a
            boundary).
        seed : int
        stop : sequence of str
            A text ends before the first of these strings in it.
        skip_unknown : bool
            Drop symbols of the prompt that are not in the vocabulary.
        weights : "float32", "bfloat16" or "int8"
            Generate with rounded matrices, see `with_weights`. None: as they are.
        **sampling
            `temperature`, `beta`, `greedy`, `top_k`, `top_p`, `min_p`, `typical_p`, `mirostat`,
            `no_repeat`, `repetition_penalty`; see `Sampling`.

        Returns
        -------
        str, or list of str if `count` is given
            Prompt and continuation.

        Raises
        ------
        InputError
            For values out of range, and for symbols that are not in the vocabulary.
        """
        require("length", length, length >= 0, "at least 0")
        require("count", count or 0, count is None or count >= 1, "at least 1")
        if weights is not None and weights != self.weights:
            return self.with_weights(weights).generate(
                prompt, length, count=count, seed=seed, stop=stop, skip_unknown=skip_unknown,
                **sampling,
            )  # fmt: skip
        sampler = Sampling.of(**sampling)
        prompt = self.clean_prompt(prompt, skip_unknown=skip_unknown)
        require_memory_for(self, length, "count", count or 1)
        decoding = Decoding(self, prompt, sampler, seed, range(count or 1))
        stop = [self.clean_prompt(s) for s in ([stop] if isinstance(stop, str) else stop) if s]
        written: list[list[int]] = [[] for _ in range(count or 1)]
        ended: dict[int, str] = {}
        for begin in range(0, length, BLOCK):
            block = decoding.draw(min(BLOCK, length - begin))  # [steps, B]
            for k, numbers in enumerate(zip(*block, strict=True)):
                written[k].extend(numbers)
                if stop and k not in ended:
                    cut = before_stop(self.vocabulary.decode(written[k], prompt), stop)
                    ended |= {} if cut is None else {k: cut}
            if len(ended) == len(written):
                break
        texts = [
            prompt + ended.get(k, self.vocabulary.decode(numbers, prompt))
            for k, numbers in enumerate(written)
        ]
        return texts if count is not None else texts[0]

    def beam_search(
        self, prompt: str = "", length: int = 200, *, beams: int = 4, skip_unknown: bool = False
    ) -> str:
        """Return a prompt and the likeliest continuation of `length` symbols, by beam search.

        After every symbol the `beams` most probable texts are kept; with one beam this is greedy
        decoding. Likely texts are often dull, see Holtzman et al. (2020).

        Parameters
        ----------
        prompt, length, skip_unknown
            As in `generate`.
        beams : int

        Example
        -------
        >>> from plait.tasks.text.config import TextConfig
        >>> from plait.tasks.text.model import TextModel
        >>> from plait.tasks.text.vocabulary import Characters
        >>> model = TextModel(Characters.of("ab"), TextConfig(hidden_size=4))
        >>> model.beam_search("a", 5, beams=1) == model.generate("a", 5, greedy=True)
        True
        """
        require("length", length, length >= 0, "at least 0")
        require("beams", beams, beams >= 1, "at least 1")
        prompt = self.clean_prompt(prompt, skip_unknown=skip_unknown)
        require_memory_for(self, length, "beams", beams)
        found = beam_search(self, prompt, length, beams)
        return prompt + self.vocabulary.decode(found, prompt)

    def contrastive_search(
        self,
        prompt: str = "",
        length: int = 200,
        *,
        alpha: float = 0.6,
        candidates: int = 4,
        skip_unknown: bool = False,
    ) -> str:
        """Return a prompt and a continuation whose states are unlike those before.

        Of the k likeliest symbols v each step takes the one of the largest

        (1 − α) p(v | x) − α max_j cos(h_v, h_j),

        h_v being the state, of which the logits are computed, after v, and h_j those after the
        symbols before (Su et al. 2022, equation 5). It is for models with `hidden` and `output`.

        Parameters
        ----------
        prompt, length, skip_unknown
            As in `generate`.
        alpha : float
            α, from 0 (greedy) to 1.
        candidates : int
            k.

        Example
        -------
        >>> from plait.tasks.text.config import TextConfig
        >>> from plait.tasks.text.model import TextModel
        >>> from plait.tasks.text.vocabulary import Characters
        >>> model = TextModel(Characters.of("ab"), TextConfig(hidden_size=4))
        >>> model.contrastive_search("a", 5, alpha=0.0) == model.generate("a", 5, greedy=True)
        True
        """
        require("length", length, length >= 0, "at least 0")
        require("alpha", alpha, 0 <= alpha <= 1, "from 0 to 1")
        require("candidates", candidates, candidates >= 1, "at least 1")
        prompt = self.clean_prompt(prompt, skip_unknown=skip_unknown)
        require_memory_for(self, length, "candidates", candidates)
        found = contrastive_search(self, prompt, length, alpha, candidates)
        return prompt + self.vocabulary.decode(found, prompt)

    def stream(
        self,
        prompt: str = "",
        length: int | None = None,
        *,
        seed: int = 0,
        sample: int = 0,
        skip_unknown: bool = False,
        at_once: int = 1,
        **sampling: Any,
    ) -> Iterator[str]:
        """Yield the continuation of a prompt symbol by symbol, endlessly or `length` symbols.

        Arguments are those of `generate`; `sample` is the k of text k. The prompt itself is not
        yielded. `at_once` symbols are drawn together, which is faster.
        """
        require("length", length or 0, length is None or length >= 0, "at least 0")
        sampler = Sampling.of(**sampling)
        require("at_once", at_once, at_once >= 1, "at least 1")
        prompt = self.clean_prompt(prompt, skip_unknown=skip_unknown)
        decoding = Decoding(self, prompt, sampler, seed, range(sample, sample + 1))

        def symbols() -> Iterator[str]:
            decode, written = self.vocabulary.decoder(prompt), 0
            while length is None or written < length:
                steps = at_once if length is None else min(at_once, length - written)
                yield from (decode(number) for (number,) in decoding.draw(steps))
                written += steps

        return symbols()


__getattr__ = renamed_names(__name__, {"WritesText": f"{__name__}.TextGenerator"})
