"""`plait score` of a trained model."""

from collections.abc import Mapping
from typing import Any

from plait.tasks.digits.config import DigitsConfig
from plait.tasks.digits.data import read_digits
from plait.tasks.digits.model import DigitsModel
from plait.tasks.digits.task import DigitsTask


def score_digits(
    model: DigitsModel, config: DigitsConfig, facts: Mapping[str, Any], data: str | None = None
) -> dict[str, float]:
    """Score a model for `plait score`.

    Parameters
    ----------
    model : DigitsModel
    config, facts
        Of its run folder.
    data : str
        Other digits, all of them, as --digits. None: the run's own test set.

    Raises
    ------
    InputError
        For digits that cannot be read, or where the run's own are no longer what they were.
    """
    task = DigitsTask.restore(model, config, facts)
    if data is not None:
        task.testing = read_digits(data).scaled(config.digit)
    return task.test()
