"""The test scores of the model and of baselines, in a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from plait.figures import COLOURS, label, picture

WHO = {
    "": "the network",
    "repeat_": "the last period again",
    "frequent_": "the most frequent",
    "logistic_": "logistic regression on counts",
    "best_": "the true probabilities",
}


def draw_scores(test: Mapping[str, Any], path: Path, k: int, *, title: str) -> None:
    """Draw the scores of the test set as bars, one colour for everyone who predicts."""
    names = {"jaccard": "Jaccard", "f1": "F1", "pr_auc": "PR-AUC", f"recall_at_{k}": f"recall@{k}"}
    who = {prefix: name for prefix, name in WHO.items() if f"{prefix}jaccard" in test}
    width = 0.8 / len(who)
    with picture(path, 9.5, 3.8) as figure:
        axes = figure.subplots()
        places = np.arange(len(names))
        for nth, (prefix, name) in enumerate(who.items()):
            values = [test[prefix + score] for score in names]
            bars = axes.bar(
                places - 0.4 + (nth + 0.5) * width, values, width, color=COLOURS[nth], label=name
            )
            axes.bar_label(bars, fmt="%.2f", fontsize=7)
        axes.set_xticks(places, list(names.values()))
        axes.set_ylabel(f"mean of {test['tested_periods']:,} periods\n"
                        f"of {test['tested_patients']:,} patients")  # fmt: skip
        axes.set_ylim(0, 1.05)
        axes.set_title(label(title, 90))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        axes.grid(axis="x", visible=False)
