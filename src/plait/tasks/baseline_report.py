"""What stands beside a score: said the same way by every task."""

from collections.abc import Mapping


def list_scores(beside: Mapping[str, float], form: str = ".1%") -> str:
    """List the scores of others, to be said behind one's own.

    >>> from plait.tasks.beside import list_scores
    >>> list_scores({"always the commonest class": 0.3, "spreading labels": 0.712})
    '; always the commonest class: 30.0%; spreading labels: 71.2%'
    """
    return "".join(f"; {name}: {score:{form}}" for name, score in beside.items())


def verdict(own: float, beside: Mapping[str, float]) -> str:
    """Say that nothing is gained where one of the others scores as high; else nothing.

    >>> from plait.tasks.beside import verdict
    >>> verdict(0.7, {"spreading labels": 0.712})
    '. Spreading labels does as well or better: nothing is gained here'
    >>> verdict(0.8, {"spreading labels": 0.712})
    ''
    """
    best = max(beside, key=beside.__getitem__)
    if beside[best] < own:
        return ""
    return f". {best[0].upper()}{best[1:]} does as well or better: nothing is gained here"
