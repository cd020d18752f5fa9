"""How a model's score compares with those of baselines: the same sentences for every task."""

from collections.abc import Mapping
from typing import Any


def baseline_scores(
    scores: Mapping[str, Any], names: Mapping[str, str], metric: str
) -> dict[str, float]:
    """Pick `PREFIX_METRIC` of every baseline that has it, by what it is called.

    >>> from plait.tasks.baseline_report import baseline_scores
    >>> names = {"dense": "without the graph", "prior": "commonest class"}
    >>> baseline_scores({"auc": 0.8, "dense_auc": 0.7}, names, "auc")
    {'without the graph': 0.7}
    """
    found = ((text, f"{prefix}_{metric}") for prefix, text in names.items())
    return {text: scores[name] for text, name in found if name in scores}


def list_scores(baselines: Mapping[str, float], form: str = ".1%") -> str:
    """List the scores of baselines, to follow a model's own.

    >>> from plait.tasks.baseline_report import list_scores
    >>> list_scores({"always the commonest class": 0.3, "spreading labels": 0.712})
    '; always the commonest class: 30.0%; spreading labels: 71.2%'
    """
    return "".join(f"; {name}: {score:{form}}" for name, score in baselines.items())


def verdict(own: float, baselines: Mapping[str, float]) -> str:
    """Return a warning where a baseline scores as high as the model; else nothing.

    >>> from plait.tasks.baseline_report import verdict
    >>> verdict(0.7, {"spreading labels": 0.712})
    '. Spreading labels does as well or better: the model does not beat this baseline'
    >>> verdict(0.8, {"spreading labels": 0.712})
    ''
    """
    best = max(baselines, key=baselines.__getitem__)
    if baselines[best] < own:
        return ""
    text = f". {best[0].upper()}{best[1:]} does as well or better: "
    return text + "the model does not beat this baseline"
