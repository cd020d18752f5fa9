"""How much a model repeats itself, by how sharply it draws, and the text it learnt from."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plait.tasks.text.config import TextConfig
from plait.tasks.text.inference import splits_of
from plait.tasks.text.model import TextModel

SPAN = 10
"""Characters of a piece that counts as repeated when the text had it before."""

BETAS = (0.5, 1.0, 2.0, 3.0, 5.0, math.inf)
"""How sharply is drawn; infinity is greedy writing."""


@dataclass(frozen=True)
class Repetition:
    """Shares of repeated pieces; as text, a table.

    Attributes
    ----------
    length : int
        Symbols of every text, written or held out.
    written : mapping of sequences
        By β, the share of each text that the model wrote.
    heldout : sequence
        The shares of as many stretches of the test set, or of as many as it has.
    """

    length: int
    written: Mapping[float, Sequence[float]]
    heldout: Sequence[float]

    def __str__(self) -> str:
        names = {b: "greedy" if math.isinf(b) else f"β = {b:g}" for b in self.written}
        rows = [(names[b], shares) for b, shares in self.written.items()]
        lines = [f"repeated pieces of {SPAN} characters, in texts of {self.length:,}"]
        for name, shares in [*rows, ("held-out text", self.heldout)]:
            spread = f" ± {statistics.stdev(shares):5.1%}" if len(shares) > 1 else ""
            lines.append(f"{name:<14}{statistics.mean(shares):7.1%}{spread}")
        texts = max(len(self.heldout), *map(len, self.written.values()))
        return "\n".join([*lines, f"(mean and standard deviation of up to {texts} texts)"])


def repeated_share(text: str, span: int = SPAN) -> float:
    """Return the share of a text's pieces of `span` characters that it had before.

    >>> from plait.tasks.text.repetition import repeated_share
    >>> repeated_share("the same the same the same", span=10)      # 17 pieces, the first 9 new
    0.47058823529411764
    """
    pieces = [text[k : k + span] for k in range(len(text) - span + 1)]
    return 1 - len(set(pieces)) / len(pieces) if pieces else 0.0


def measure_repetition(
    model: TextModel,
    config: TextConfig,
    facts: Mapping[str, Any],
    betas: Sequence[float] = BETAS,
    *,
    texts: int = 8,
    length: int = 1000,
) -> Repetition:
    """Measure the share of repeated pieces for every β, and in the held-out text.

    Drawn texts begin with nothing; greedy ones, which would all be the same, each with another
    symbol, which is not counted. They are compared with stretches of the test set, as long and
    evenly spread; where it is shorter than `length`, so is everything.

    Parameters
    ----------
    model : TextModel
    config, facts
        Of its run folder; the configuration's seed decides what is drawn.
    betas : sequence of float
    texts : int
        For every β.
    length : int
        Symbols of a text.

    Raises
    ------
    InputError
        When the training text is gone or has changed.
    """
    heldout = splits_of(model, config, facts).test
    length = min(length, len(heldout))
    stretches = min(texts, len(heldout) // length)
    room = len(heldout) - length
    begins = [room * k // max(1, stretches - 1) for k in range(stretches)]
    decode = model.vocabulary.decode
    written: dict[float, list[str]] = {}
    for beta in betas:
        if math.isinf(beta):
            step = -(-len(model.vocabulary) // texts)
            prompts = [decode([n]) for n in range(0, len(model.vocabulary), step)]
            greedy = [model.generate(p, length, greedy=True).removeprefix(p) for p in prompts]
            written[beta] = greedy
        else:
            written[beta] = model.generate("", length, beta=beta, count=texts, seed=config.seed)
    return Repetition(
        length,
        {beta: [repeated_share(text) for text in ones] for beta, ones in written.items()},
        [repeated_share(decode(heldout[b : b + length].tolist())) for b in begins],
    )
