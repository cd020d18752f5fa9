"""How a model's score compares with those of baselines: the same sentences for every task."""

from collections.abc import Mapping
from typing import Any

from plait.figures import Curve


def named_scores(by_name: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the scores of baselines as `NAME_SCORE`, side by side.

    >>> from plait.tasks.baseline_report import named_scores
    >>> named_scores({"prior": {"auc": 0.5}, "degree": {"auc": 0.6}})
    {'prior_auc': 0.5, 'degree_auc': 0.6}
    """
    return {f"{name}_{k}": value for name, scores in by_name.items() for k, value in scores.items()}


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


def curves_next_to(
    labels: Mapping[str, str], test: Mapping[str, Any] | None, prefix: str, name: str
) -> list[Curve]:
    """Return a curve for each score; once tested with the level of a baseline, by its prefix."""
    levels = {k: test[f"{prefix}_{k}"] for k in labels} if test is not None else {}
    named = {k: (level, f"{name}: {level:.3g}") for k, level in levels.items()}
    return [Curve(score, label, named.get(score)) for score, label in labels.items()]


def describe_right(scores: Mapping[str, Any]) -> str:
    """Return the accuracy in words, next to that of always giving the likeliest answer.

    >>> from plait.tasks.baseline_report import describe_right
    >>> describe_right({"accuracy": 0.9, "prior": 0.5})
    'accuracy 90.0%; always the likeliest answer 50.0%'
    """
    return f"accuracy {scores['accuracy']:.1%}; always the likeliest answer {scores['prior']:.1%}"


def learnt_little(scores: Mapping[str, Any]) -> bool:
    """Return whether the loss is hardly below that of always giving the likeliest answer."""
    return scores["loss"] > 0.95 * scores["loss_prior"]


def likeliest_answer(level: float) -> tuple[float, str]:
    """Return a level in a figure: what is had by always giving the likeliest answer."""
    return level, f"the likeliest answer: {level:.3g}"


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
