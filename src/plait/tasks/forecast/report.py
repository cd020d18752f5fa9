"""What the scores of a forecast mean next to the baselines', in words."""

from collections.abc import Mapping
from typing import Any

from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.scores import above, gain, table


def in_words(scores: Mapping[str, Any], config: ForecastConfig) -> str:
    """Return the table of errors, and who has the smaller one."""
    records = scores["table"]
    plain = {n: r for n, r in records.items() if n not in ("network", "best possible")}
    name = min(plain, key=lambda n: plain[n]["rmse_to"][-1])
    ours, theirs = scores["rmse"], plain[name]["rmse_to"][-1]
    who = f"RMSE over all steps {ours:.4g}; the best without a network, {name!r}, {theirs:.4g}"
    text = f"{table(records, config.shown)}\n{who}: {gain(ours, theirs)}"
    if "zeros" in scores:
        text += f"\nMAPE leaves out {scores['zeros']:,} measurements of 0"
    if "coverage" in scores:
        text += (
            f"\n{scores['coverage']:.1%} of the values lie between the outer quantiles, of "
            f"{scores['coverage_wanted']:.0%} wanted"
        )
    if "band_coverage" in scores:
        text += (
            f"\n{scores['band_coverage']:.1%} of the values lie in the bands, of "
            f"{config.coverage:.0%} wanted; they are {scores['band_width']:.4g} wide, "
            f"and their interval score is {scores['interval_score']:.4g}"
        )
    if "best_rmse" in scores:
        text += (
            f"\nthe best possible forecast has {scores['best_rmse']:.4g} on these steps: the "
            f"network is {above(ours, scores['best_rmse'])} above it"
        )
    return text
