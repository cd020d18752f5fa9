"""Which weights of a training are kept: those that do best on validation."""

import math
from collections import deque

from plait.training.state import TrainingState


class BestWeights:
    """Decide after each validation whether its weights are the best so far.

    Parameters
    ----------
    lower_is_better : bool
    count : int
        Validations in a row whose mean score decides, so that none wins by chance.

    Example
    -------
    >>> from plait.training.selection import BestWeights
    >>> from plait.training.state import TrainingState
    >>> best = BestWeights(lower_is_better=True, count=1)
    >>> now = TrainingState((), best.worst)
    >>> [best.update(now, loss, loss) for loss in (3.0, 2.0, 2.5)]
    [True, True, False]
    """

    def __init__(self, lower_is_better: bool, count: int) -> None:
        self.lower_is_better, self.count = lower_is_better, count
        self.worst = math.inf if lower_is_better else -math.inf
        self.latest: deque[tuple[float, float]] = deque(maxlen=count)

    def remember(self, score: float, loss: float) -> None:
        """Take a validation into the mean, such as one before a stop."""
        self.latest.append((score, loss))

    def update(self, now: TrainingState, score: float, loss: float) -> bool:
        """Return whether the weights of this validation are to be kept; note their score in `now`.

        Until there are enough for a mean the latest weights are kept, which the first mean beats.
        Of equal means the one of the smaller loss is better.
        """
        self.remember(score, loss)
        if len(self.latest) < self.count:
            return True
        score, loss = (sum(part) / self.count for part in zip(*self.latest, strict=True))
        equal = self.count > 1 and score == now.best and loss < now.best_loss
        better = score < now.best if self.lower_is_better else score > now.best
        if equal or better:
            now.best, now.best_loss = score, loss
        return equal or better
