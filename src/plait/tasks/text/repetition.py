"""How much a model repeats itself, by how sharply it draws."""

import math
from collections.abc import Sequence

from plait.tasks.text.model import TextModel

SPAN = 10
"""Characters of a piece that counts as repeated when the text had it before."""


def repeated_share(text: str, span: int = SPAN) -> float:
    """Give the share of a text's pieces of `span` characters that it had before.

    >>> from plait.tasks.text.repetition import repeated_share
    >>> repeated_share("the same the same the same", span=10)      # 17 pieces, the first 9 new
    0.47058823529411764
    """
    pieces = [text[k : k + span] for k in range(len(text) - span + 1)]
    return 1 - len(set(pieces)) / len(pieces) if pieces else 0.0


def measure_repetition(
    model: TextModel,
    betas: Sequence[float] = (0.5, 1.0, 2.0, 3.0, 5.0, float("inf")),
    *,
    texts: int = 8,
    length: int = 1000,
    seed: int = 0,
) -> dict[float, float]:
    """Give the mean share of repeated pieces for every β; infinity is greedy writing.

    Texts begin with nothing; greedy ones, which would all be the same, each with another symbol.
    """
    step = max(1, len(model.vocabulary) // texts)
    prompts = [model.vocabulary.decode([n]) for n in range(0, len(model.vocabulary), step)][:texts]
    shares = {}
    for beta in betas:
        if math.isinf(beta):
            written = [model.generate(prompt, length, greedy=True) for prompt in prompts]
        else:
            written = model.generate("", length, beta=beta, count=texts, seed=seed)
        shares[beta] = sum(map(repeated_share, written)) / len(written)
    return shares
