"""`plait predict` and `plait score` of a trained model."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from plait.errors import InputError
from plait.news import remark
from plait.tasks.visits import NOT_ADVICE
from plait.tasks.visits.config import VisitsConfig
from plait.tasks.visits.data import read_histories
from plait.tasks.visits.histories import Histories
from plait.tasks.visits.model import VisitsModel
from plait.tasks.visits.task import VisitsTask, in_batches


def predict_visits(
    model: VisitsModel,
    config: VisitsConfig,
    facts: Mapping[str, Any],
    data: str | None = None,
    *,
    encoding: str | None = None,
) -> pd.DataFrame:
    """Rank the drugs of every patient's next period, the one after the last that is known.

    A research tool, not medical advice.

    Parameters
    ----------
    model : VisitsModel
    config, facts
        Of its run folder.
    data : str
        Histories by path or name, as `--data` of `plait train visits`; one period is enough. None:
        the run's own.
    encoding : str
        Of `data`. None: that of the run's own table.

    Returns
    -------
    DataFrame
        For every patient a row for every drug, the likeliest first: `patient`, `after_periods`
        (how many are known), `rank` (from 1), `drug`, `probability`, `predicted` (whether it is at
        least the threshold that did best on validation), `interacts_with` (drugs predicted for the
        patient that it interacts with, by the run's list), `events_unknown` (of the patient, whose
        code the run never met, so that they were left out), `note`.

    Raises
    ------
    InputError
        For data that cannot be read, or of which the model knows nothing; without `data`, where
        the run's own is no longer what it was.
    """
    if data is None:
        histories = VisitsTask.restore(model, config, facts).histories
    else:
        given = replace(config, encoding=encoding or config.encoding)
        histories = read_histories(data, given, model.codes)
    remark("read", histories.notes)
    if not any(len(codes) for own in histories.periods for codes in own):
        raise InputError(
            f"{histories.source}: none of its events is one that the run knows, such as "
            f"{' '.join(model.codes[0])}; give data with the codes that it learnt from"
        )
    views, everyone = model.views(histories), range(len(histories.patients))
    chances = model.chances(in_batches(views.last, everyone)).numpy()
    order = np.argsort(-chances, axis=1, kind="stable")
    predicted = chances >= float(model.threshold)
    drugs = np.array([code for _, code in model.codes[: model.drugs]], dtype=object)
    pairs = model.relations.interacting[: model.drugs, : model.drugs]
    tables = []
    for k, name in enumerate(histories.patients):
        first = order[k]
        partners = [", ".join(drugs[pairs[d] & predicted[k]]) for d in first]
        tables.append(
            pd.DataFrame(
                {
                    "patient": name,
                    "after_periods": len(histories.periods[k]),
                    "rank": np.arange(1, model.drugs + 1),
                    "drug": drugs[first],
                    "probability": chances[k][first],
                    "predicted": predicted[k][first],
                    "interacts_with": partners,
                    "events_unknown": histories.left_out.get(name, 0),
                    "note": NOT_ADVICE,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def score_visits(
    model: VisitsModel,
    config: VisitsConfig,
    facts: Mapping[str, Any],
    data: str | None = None,
    *,
    encoding: str | None = None,
) -> dict[str, float]:
    """Score the run's test patients, or all of other histories; arguments as `predict_visits`.

    Returns
    -------
    dict
        As `score_drugs`; the same of the baselines, fitted on the run's own training set; and
        `events_unknown`, how many events of codes that the run never met were left out.

    Raises
    ------
    InputError
        Where the run's own data is no longer what it was, or in other data nothing can be asked.
    """
    task = VisitsTask.restore(model, config, facts)
    if data is None:
        remark("read", task.notes)
        return task.test()
    given = replace(config, encoding=encoding or config.encoding)
    tested = read_histories(data, given, model.codes)
    remark("read", tested.notes)
    scores = task.score(tested, _asked_of(tested))
    return scores | {"events_unknown": sum(tested.left_out.values())}


def _asked_of(tested: Histories) -> list[int]:
    asked = [k for k in range(len(tested.patients)) if tested.asked(k)]
    if not asked:
        raise InputError(
            f"{tested.source}: no patient has a period with known drugs after another, so there is "
            "nothing to score"
        )
    return asked
