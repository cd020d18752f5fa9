"""What predicts drugs without a model: the last period again, the most frequent, counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.linear_model import LogisticRegression

from plait.tasks.baseline_report import named_scores
from plait.tasks.splits import Splits
from plait.tasks.visits.generated import Hospital
from plait.tasks.visits.histories import Histories
from plait.tasks.visits.scores import best_threshold, score_drugs


def baselines(
    histories: Histories,
    splits: Splits[list[int]],
    tested: Histories,
    patients: Sequence[int],
    k: int,
) -> dict[str, float]:
    """Score three predictions on patients of `tested`, by names that begin with theirs.

    - `repeat`: the drugs of the last period; behind them, for the ranks, the most frequent.
    - `frequent`: every drug by its share of the training set's periods.
    - `logistic`: one logistic regression per drug on how often each code was, see
      `logistic_chances`.

    The thresholds of the latter two are chosen on the validation set, as the model's is.
    `tested` has the codes of `histories`.
    """
    truth, valid = targets_of(tested, patients), targets_of(histories, splits.valid)
    share = targets_of(histories, splits.train).mean(0)
    last = counts_of(tested, patients)[:, -len(tested.codes) :][:, : tested.drugs].toarray()
    scores = {"repeat": score_drugs(np.maximum(last, 0.5 * share), truth, 1.0, k)}
    del scores["repeat"]["loss"]  # it has no probabilities
    chances = logistic_chances(histories, splits.train, [(histories, splits.valid),
                                                        (tested, patients)])  # fmt: skip
    for name, (on_valid, on_test) in {
        "frequent": [np.tile(share, (len(y), 1)) for y in (valid, truth)],
        "logistic": chances,
    }.items():
        scores[name] = score_drugs(on_test, truth, best_threshold(on_valid, valid), k)
    return named_scores(scores)


def logistic_chances(
    histories: Histories,
    train: Sequence[int],
    asked: Sequence[tuple[Histories, Sequence[int]]],
) -> list[np.ndarray]:
    """Fit one logistic regression per drug on `counts_of`, and return probabilities `[Q, drugs]`.

    It is scikit-learn's, with its default penalty. A drug that all or none of the training periods
    have keeps that share.
    """
    x, y = counts_of(histories, train), targets_of(histories, train)
    features = [counts_of(*part) for part in asked]
    chances = [np.tile(y.mean(0), (part.shape[0], 1)) for part in features]
    for drug in np.flatnonzero((y.min(0) < 1) & (y.max(0) > 0)):
        fit = LogisticRegression(solver="liblinear").fit(x, y[:, drug])
        for given, part in zip(chances, features, strict=True):
            given[:, drug] = fit.predict_proba(part)[:, 1]
    return chances


def counts_of(histories: Histories, patients: Sequence[int]) -> Any:
    """Count in how many of the periods so far each code was, and in the last one.

    Returns
    -------
    sparse array `[Q, 2 · codes]`
        A row for every period asked about. The counts are divided by that of the periods, so that
        long histories do not outweigh short ones.
    """
    rows = []
    for patient in patients:
        present = np.zeros((len(histories.periods[patient]), len(histories.codes)))
        for t, codes in enumerate(histories.periods[patient]):
            present[t, codes] = 1
        share = present.cumsum(0) / np.arange(1, len(present) + 1)[:, None]
        both = np.concatenate([share, present], 1)
        rows.append(scipy.sparse.csr_array(both[histories.asked(patient)]))
    return scipy.sparse.vstack(rows, format="csr")


def targets_of(histories: Histories, patients: Sequence[int]) -> np.ndarray:
    """Return the drugs of the periods that follow those asked about, `[Q, drugs]`."""
    return np.stack([histories.target(k, t) for k in patients for t in histories.asked(k)])


def best_chances(histories: Histories, patients: Sequence[int]) -> np.ndarray:
    """Return the true probabilities of generated patients' next drugs, `[Q, drugs]`.

    Only periods with drugs are asked about, so they are p_i / (1 − Π_j (1 − p_j)), with p those of
    `Hospital.chances`.
    """
    hospital = Hospital()
    place = [hospital.number[drug] for _, drug in histories.codes[: histories.drugs]]
    chances = []
    for k in patients:
        history = [[histories.codes[c] for c in codes] for codes in histories.periods[k]]
        chances += [hospital.chances(history[: t + 1])[place] for t in histories.asked(k)]
    every = np.stack(chances)
    return every / (1 - (1 - every).prod(1, keepdims=True))
