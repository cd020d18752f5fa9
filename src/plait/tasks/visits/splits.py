"""Which patients are trained on, validated on, and tested on."""

import numpy as np

from plait.errors import InputError
from plait.tasks.splits import Splits
from plait.tasks.visits.histories import Histories

VALID, TEST = 0.15, 0.15
"""Shares of the patients to validate and to test on."""


def split_patients(histories: Histories, seed: int) -> Splits[list[int]]:
    """Split the patients of at least two periods: 70, 15 and 15 %.

    Raises
    ------
    InputError
        Where too few can be learnt from.
    """
    if not histories.drugs:
        raise InputError(f"{histories.source} has no events of the kind drug: nothing to predict")
    if max(map(len, histories.periods)) < 2:
        raise InputError(
            f"{histories.source}: no patient of {len(histories.patients)} has two periods, so "
            "there is no next one to predict; give longer histories, or a smaller --period-hours"
        )
    several = [k for k in range(len(histories.patients)) if histories.asked(k)]
    if len(several) < 10:
        raise InputError(
            f"{histories.source}: {len(several)} patients have drugs in a second period or later; "
            "10 at least are needed to train, validate and test on others"
        )
    order = np.random.default_rng(seed).permutation(several).tolist()
    valid, test = (max(1, round(share * len(order))) for share in (VALID, TEST))
    return Splits(order[valid + test :], order[:valid], order[valid : valid + test])
