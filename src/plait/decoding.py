"""The steps of generation: read a prompt, then draw symbols for a batch of texts, or search."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from plait.memory import require_memory
from plait.sampling import Sampler, Sampling, first_largest, require

SYMBOL, STREAM = 24, 4_000
"""Bytes of memory per generated symbol, and per random stream of a text."""


class Vocabulary(Protocol):
    """The symbols of a text model, and their numbers."""

    def __len__(self) -> int: ...
    def encode(self, text: str) -> np.ndarray:
        """Return the numbers of a text's symbols."""
        ...

    def decode(self, numbers: Sequence[int], after: str = "") -> str:
        """Return the text of these numbers, as the continuation of `after`."""
        ...

    def decoder(self, after: str = "") -> Callable[[int], str]:
        """Return a function that decodes one number after another."""
        ...

    def known(self, text: str) -> str:
        """Return a text without the symbols that are not in the vocabulary."""
        ...


class CompiledLoop(Protocol):
    """A compiled loop that draws symbols in place of a model's `forward`."""

    def takes(self, sampling: Sampling) -> bool:
        """Return whether it can draw so."""
        ...

    def generate(self, last: Tensor, uniform: np.ndarray, sampler: Sampler) -> Tensor:
        """Return the symbols after `last [B]`, drawn with `uniform [steps, B]`: `[steps, B]`.

        What the sampler remembers is brought up to date.
        """
        ...


class Decoding:
    """A batch of texts being generated: each step draws one symbol of every text."""

    def __init__(
        self, model: Any, prompt: str, sampling: Sampling, seed: int, samples: range
    ) -> None:
        require("seed", seed, 0 <= seed < 2**63, "at least 0 and less than 2**63")
        self.model = model
        self.streams = [np.random.Generator(np.random.Philox(key=[seed, k])) for k in samples]
        self.device = next(model.parameters()).device
        self.drawn: Tensor | None = None
        with eval_mode(model), torch.inference_mode():
            logits, state = read_prompt(model, prompt)
            read = torch.from_numpy(model.vocabulary.encode(prompt)).to(self.device)
            self.sampler = Sampler(sampling, read[:, None].expand(-1, len(samples)))
            self.logits = logits.expand(len(samples), -1)
            self.state = map_state(state, lambda s: s.expand(-1, len(samples), -1).contiguous())
            compiled = model.compiled(self.state, len(samples))
            self.compiled = compiled if compiled is not None and compiled.takes(sampling) else None

    def draw(self, steps: int) -> list[list[int]]:
        """Return the next symbols of every text, `[steps, B]`."""
        with eval_mode(self.model), torch.inference_mode():
            if self.compiled is None:
                return [self._step() for _ in range(steps)]
            first = [] if self.drawn is not None else [self._step()]
            assert self.drawn is not None
            uniform = [stream.random(steps - len(first)) for stream in self.streams]
            written = self.compiled.generate(self.drawn, np.stack(uniform, 1), self.sampler)
            self.drawn = written[-1] if len(written) else self.drawn
            return [*first, *written.tolist()]

    def _step(self) -> list[int]:
        if self.drawn is not None:
            logits, self.state = self.model(self.drawn[None], self.state)
            self.logits = logits[0]  # [B, V]
        u = torch.tensor([stream.random() for stream in self.streams], dtype=torch.float64)
        self.drawn = self.sampler.draw(self.logits, u.to(self.device))  # [B]
        return self.drawn.tolist()


def read_prompt(model: Any, prompt: str) -> tuple[Tensor, Any]:
    """Return the logits `[1, V]` after a prompt and the state; None for an empty prompt."""
    numbers = torch.from_numpy(model.vocabulary.encode(prompt))
    if len(numbers) == 0:
        return model.first_logits(1), None
    logits, state = model(numbers[:, None].to(next(model.parameters()).device))  # [T, 1, V]
    return logits[-1], state


def require_memory_for(model: Any, length: int, name: str, count: int) -> None:
    """Refuse more or longer texts than fit in memory."""
    states = 64 * sum(p.shape[-1] for p in model.parameters() if p.ndim == 2)  # roughly, a text
    needed = count * (SYMBOL * length + 32 * len(model.vocabulary) + states + STREAM)
    what = f"{name} {count} of length {length}" if count > 1 else f"length {length}"
    require_memory(needed, what, "make it smaller, or stream" if count == 1 else "make it smaller")


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode for a block of code, then back in its former mode."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()


def map_state(state: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a state, of one tensor or several, with each of them changed; None stays None."""
    if state is None:
        return None
    return tuple(map(change, state)) if isinstance(state, tuple) else change(state)


def before_stop(text: str, stop: Sequence[str]) -> str | None:
    """Return a text up to the stop string that ends first in it; None without any of them."""
    ends = [(text.index(s) + len(s), -len(s)) for s in stop if s in text]
    return text[: sum(min(ends))] if ends else None


@torch.inference_mode()
def beam_search(model: Any, prompt: str, length: int, beams: int) -> list[int]:
    """Return the symbols of the likeliest continuation that a beam search finds."""
    with eval_mode(model):
        logits, state = read_prompt(model, prompt)  # [1, V]
        texts = torch.zeros(1, 0, dtype=torch.long, device=logits.device)
        scores = torch.zeros(1, 1, dtype=torch.float64, device=logits.device)
        for written in range(length):
            if written:
                logits, state = model(texts[None, :, -1], state)
                logits = logits[0]  # [beams, V]
            total = (scores + logits.double().log_softmax(-1)).flatten()
            best = total.sort(descending=True, stable=True).indices[:beams]
            scores = total[best][:, None]
            parent, symbol = best // logits.shape[-1], best % logits.shape[-1]
            texts = torch.cat([texts[parent], symbol[:, None]], 1)
            state = map_state(state, lambda s, parent=parent: s[:, parent])
    return texts[0].tolist()


@torch.inference_mode()
def contrastive_search(
    model: Any, prompt: str, length: int, alpha: float, candidates: int
) -> list[int]:
    """Return the symbols that a contrastive search finds, see `TextGenerator.contrastive_search`.

    Each step reads every candidate, in one batch.
    """
    with eval_mode(model):
        numbers = torch.from_numpy(model.vocabulary.encode(prompt))[:, None]
        device, state = next(model.parameters()).device, None
        logits, before = model.first_logits(1), None  # states of norm 1, [n, H]
        if len(numbers):
            h, state = model.hidden(numbers.to(device))  # [T, 1, H]
            logits, before = model.output(h[-1]), nn.functional.normalize(h[:, 0], dim=-1)
        found = list[int]()
        for _ in range(length):
            p = logits[0].double().softmax(-1)
            likeliest = p.sort(descending=True, stable=True).indices[:candidates]  # [k]
            k = len(likeliest)
            shared = map_state(state, lambda s, k=k: s.expand(-1, k, -1).contiguous())
            h, states = model.hidden(likeliest[None], shared)
            direction = nn.functional.normalize(h[0], dim=-1)  # [k, H]
            score = (1 - alpha) * p[likeliest]
            if before is not None:
                score = score - alpha * (direction @ before.T).amax(-1)
            best = int(first_largest(score))
            found.append(int(likeliest[best]))
            state = map_state(states, lambda s, best=best: s[:, best : best + 1])
            logits = model.output(h[0, best : best + 1])
            chosen = direction[best : best + 1]
            before = chosen if before is None else torch.cat([before, chosen])
    return found
