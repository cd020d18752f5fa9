"""Writing on from a prompt, a symbol at a time."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, Self, get_args, overload

import numpy as np
import torch
from torch import Tensor, nn

from plait.errors import InputError
from plait.kernels.cpu.rounding import Kind, rounded
from plait.memory import require_memory
from plait.sampling import Sampling, require

State = tuple[Tensor, ...]

AT_ONCE = 64
"""Symbols that are written before it is looked at whether all texts have ended."""


SYMBOL, STREAM = 24, 4_000
"""Bytes that a written symbol takes, and a text's stream of random numbers."""


class Vocabulary(Protocol):
    """Symbols and their numbers."""

    def __len__(self) -> int: ...
    def encode(self, text: str) -> np.ndarray:
        """Number the symbols of a text."""
        ...

    def decode(self, numbers: Sequence[int], after: str = "") -> str:
        """Give the text of these numbers, as it goes on after another."""
        ...

    def decoder(self, after: str = "") -> Callable[[int], str]:
        """Make a function that gives the text of one number after another."""
        ...

    def known(self, text: str) -> str:
        """Leave out the symbols that have no number."""
        ...


class WritesText(nn.Module):
    """A model of the next symbol that can write on.

    A subclass has a `vocabulary`, `forward(numbers [T, B], state)` giving logits `[T, B, V]` and
    the state, and `first_logits(count)` for the first symbol of a text.
    """

    vocabulary: Vocabulary
    weights: Kind = "float32"
    """What the matrices are rounded to."""

    def with_weights(self, weights: Kind) -> Self:
        """Give the model with its matrices rounded, but for an embedding of its own.

        Whatever is computed with it, it is computed in float32 with the rounded numbers; the
        compiled loop that writes on reads them as they are kept, in 2 bytes or 1, so that a large
        network, which waits for its weights, writes faster.

        Parameters
        ----------
        weights : "float32", "bfloat16" or "int8"
            float32: the model itself. bfloat16: 8 significant bits. int8: each row of a matrix by
            255 steps between ± its largest absolute value.

        Raises
        ------
        InputError
            For other names, and for a model that is rounded already.

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
            raise InputError(f"the model's weights are {self.weights}; round those it came from")
        model = copy.deepcopy(self)
        model.weights = weights
        with torch.no_grad():
            for module in model.modules():
                for p in module.parameters(recurse=False):
                    if p.ndim == 2 and not isinstance(module, nn.Embedding):
                        p.copy_(rounded(p, weights))
        return model

    def clean_prompt(self, prompt: str, *, skip_unknown: bool = False) -> str:
        r"""Return a prompt as it is read: lines that end as those of every text here, in `\n`.

        With `skip_unknown` without the symbols that the model has never seen.
        """
        prompt = prompt.replace("\r\n", "\n").replace("\r", "\n")
        return self.vocabulary.known(prompt) if skip_unknown else prompt

    def compiled(self, state: Tensor | State | None, count: int) -> "Writer | None":
        """Give a compiled writer of so many texts that starts from a state, where there is one."""
        return None

    def first_logits(self, count: int) -> Tensor:
        """Logits of a text's first symbol, `[count, V]`."""
        raise NotImplementedError

    @overload
    def generate(
        self, prompt: str = "", length: int = 200, *, count: None = None, seed: int = 0,
        stop: Sequence[str] = (), skip_unknown: bool = False, weights: Kind | None = None,
        temperature: float | None = None, beta: float | None = None, greedy: bool = False,
        top_k: int | None = None, top_p: float | None = None, min_p: float | None = None,
    ) -> str: ...  # fmt: skip

    @overload
    def generate(
        self, prompt: str = "", length: int = 200, *, count: int, seed: int = 0,
        stop: Sequence[str] = (), skip_unknown: bool = False, weights: Kind | None = None,
        temperature: float | None = None, beta: float | None = None, greedy: bool = False,
        top_k: int | None = None, top_p: float | None = None, min_p: float | None = None,
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
        """Write on from a prompt.

        Parameters
        ----------
        prompt : str
            Read once, with the state carried on. Empty: start from the zero state.
        length : int
            Symbols to write after the prompt.
        count : int
            Write so many texts. Text k of seed s draws from a stream of its own, (s, k), so it is
            the same whatever else is written beside it (but where a draw falls within rounding of
            a boundary).
        seed : int
        stop : sequence of str
            A text ends before the first of these that it writes.
        skip_unknown : bool
            Leave symbols of the prompt out that the model has never seen.
        weights : "float32", "bfloat16" or "int8"
            Write with the matrices rounded, see `with_weights`. None: as they are.
        **sampling
            `temperature`, `beta`, `greedy`, `top_k`, `top_p`, `min_p`; see `Sampling`.

        Returns
        -------
        str, or a list of them when `count` is given
            The prompt and what was written.

        Raises
        ------
        InputError
            For values out of their range, and symbols that the model has never seen.
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
        _require_room(self, length, "count", count or 1)
        writer = _Writer(self, prompt, sampler, seed, range(count or 1))
        stop = [self.clean_prompt(s) for s in ([stop] if isinstance(stop, str) else stop) if s]
        written: list[list[int]] = [[] for _ in range(count or 1)]
        ended: dict[int, str] = {}
        for begin in range(0, length, AT_ONCE):
            block = writer.write(min(AT_ONCE, length - begin))  # [steps, B]
            for k, numbers in enumerate(zip(*block, strict=True)):
                written[k].extend(numbers)
                if stop and k not in ended:
                    cut = _before_stop(self.vocabulary.decode(written[k], prompt), stop)
                    ended |= {} if cut is None else {k: cut}
            if len(ended) == len(written):
                break
        texts = [
            prompt + ended.get(k, self.vocabulary.decode(numbers, prompt))
            for k, numbers in enumerate(written)
        ]
        return texts if count is not None else texts[0]

    @torch.inference_mode()
    def beam_search(
        self, prompt: str = "", length: int = 200, *, beams: int = 4, skip_unknown: bool = False
    ) -> str:
        """Look for the likeliest text of `length` symbols after a prompt.

        At every symbol the `beams` texts of the largest probability so far are kept; with one
        beam this is greedy writing. What is found is likely, and often dull: see Holtzman et al.
        (2020).

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
        _require_room(self, length, "beams", beams)
        with _standing_still(self):
            logits, state = _read(self, prompt)  # [1, V]
            texts = torch.zeros(1, 0, dtype=torch.long, device=logits.device)
            scores = torch.zeros(1, 1, dtype=torch.float64, device=logits.device)
            for written in range(length):
                if written:
                    logits, state = self(texts[None, :, -1], state)
                    logits = logits[0]  # [beams, V]
                total = (scores + logits.double().log_softmax(-1)).flatten()
                best = total.sort(descending=True, stable=True).indices[:beams]
                scores = total[best][:, None]
                parent, symbol = best // logits.shape[-1], best % logits.shape[-1]
                texts = torch.cat([texts[parent], symbol[:, None]], 1)
                state = _each(state, lambda s, parent=parent: s[:, parent])
        return prompt + self.vocabulary.decode(texts[0].tolist(), prompt)

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
        """Write on, one symbol at a time, without end or for `length` symbols.

        Arguments are those of `generate`; `sample` is the k of text k. The prompt is not given
        back. With `at_once` so many symbols are drawn before the first of them is given, which is
        faster.
        """
        require("length", length or 0, length is None or length >= 0, "at least 0")
        sampler = Sampling.of(**sampling)
        require("at_once", at_once, at_once >= 1, "at least 1")
        prompt = self.clean_prompt(prompt, skip_unknown=skip_unknown)
        writer = _Writer(self, prompt, sampler, seed, range(sample, sample + 1))

        def symbols() -> Iterator[str]:
            decode, written = self.vocabulary.decoder(prompt), 0
            while length is None or written < length:
                steps = at_once if length is None else min(at_once, length - written)
                yield from (decode(number) for (number,) in writer.write(steps))
                written += steps

        return symbols()


class Writer(Protocol):
    """Writes symbols without a model's `forward`."""

    def write(self, last: Tensor, uniform: np.ndarray, sampling: Sampling) -> Tensor:
        """Go on after the symbols `last [B]`, each drawn by a number of `uniform [steps, B]`."""
        ...


class _Writer:
    """The state of writing: one step draws one symbol of every text."""

    def __init__(
        self, model: WritesText, prompt: str, sampling: Sampling, seed: int, samples: range
    ) -> None:
        require("seed", seed, 0 <= seed < 2**63, "at least 0 and less than 2**63")
        self.model, self.sampling = model, sampling
        self.streams = [np.random.Generator(np.random.Philox(key=[seed, k])) for k in samples]
        self.device = next(model.parameters()).device
        self.drawn: Tensor | None = None
        with _standing_still(model), torch.inference_mode():
            logits, state = _read(model, prompt)
            self.logits = logits.expand(len(samples), -1)
            self.state = _each(state, lambda s: s.expand(-1, len(samples), -1).contiguous())
            self.compiled = model.compiled(self.state, len(samples))

    def write(self, steps: int) -> list[list[int]]:
        """Draw the next symbols of every text, `[steps, B]`."""
        with _standing_still(self.model), torch.inference_mode():
            if self.compiled is None:
                return [self._step() for _ in range(steps)]
            first = [] if self.drawn is not None else [self._step()]
            assert self.drawn is not None
            uniform = [stream.random(steps - len(first)) for stream in self.streams]
            written = self.compiled.write(self.drawn, np.stack(uniform, 1), self.sampling)
            self.drawn = written[-1] if len(written) else self.drawn
            return [*first, *written.tolist()]

    def _step(self) -> list[int]:
        if self.drawn is not None:
            logits, self.state = self.model(self.drawn[None], self.state)
            self.logits = logits[0]  # [B, V]
        u = torch.tensor([stream.random() for stream in self.streams], dtype=torch.float64)
        self.drawn = self.sampling.draw(self.logits, u.to(self.device))  # [B]
        return self.drawn.tolist()


def _read(model: WritesText, prompt: str) -> tuple[Tensor, Any]:
    """Read a prompt: logits `[1, V]` of what follows it, and the state, None for no prompt."""
    numbers = torch.from_numpy(model.vocabulary.encode(prompt))
    if len(numbers) == 0:
        return model.first_logits(1), None
    logits, state = model(numbers[:, None].to(next(model.parameters()).device))  # [T, 1, V]
    return logits[-1], state


def _require_room(model: WritesText, length: int, name: str, count: int) -> None:
    """Refuse to write more texts at once, or longer ones, than the memory holds."""
    states = 64 * sum(p.shape[-1] for p in model.parameters() if p.ndim == 2)  # roughly, a text
    needed = count * (SYMBOL * length + 32 * len(model.vocabulary) + states + STREAM)
    what = f"{name} {count} of length {length}" if count > 1 else f"length {length}"
    require_memory(needed, what, "make it smaller, or stream" if count == 1 else "make it smaller")


class _standing_still:  # noqa: N801 - a context manager, read as a phrase
    """Evaluation mode, and back to what it was."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.was_training = model, model.training

    def __enter__(self) -> None:
        if self.was_training:
            self.model.eval()

    def __exit__(self, *exception: object) -> None:
        if self.was_training:
            self.model.train()


def _each(state: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if state is None:
        return None
    return tuple(map(change, state)) if isinstance(state, tuple) else change(state)


def _before_stop(text: str, stop: Sequence[str]) -> str | None:
    """Cut a text before the stop string that ends first in it, the longest of several; or None."""
    ends = [(text.index(s) + len(s), -len(s)) for s in stop if s in text]
    return text[: sum(min(ends))] if ends else None
