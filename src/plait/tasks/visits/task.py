"""The visits task: its data, batches, loss and scores."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from plait.errors import InputError
from plait.figures import Curve
from plait.tasks.baseline_report import baseline_scores, list_scores, named_scores, verdict
from plait.tasks.visits import NOT_ADVICE
from plait.tasks.visits.baselines import baselines, best_chances, targets_of
from plait.tasks.visits.batches import Batch, Views
from plait.tasks.visits.config import GENERATED
from plait.tasks.visits.data import source_of
from plait.tasks.visits.figure import draw_scores
from plait.tasks.visits.histories import Histories
from plait.tasks.visits.model import VisitsModel
from plait.tasks.visits.scores import best_threshold, interacting_share, score_drugs
from plait.terminal import counted
from plait.training.ranks import current_ranks
from plait.training.streams import random_generator
from plait.training.task import Carry, Task, count_weights

PATIENTS_PER_BATCH = 32
"""Patients scored side by side."""

BASELINES = {
    "repeat": "the last period again",
    "frequent": "the most frequent",
    "logistic": "logistic regression on counts",
}


class VisitsTask(Task):
    """Predict the drugs of every next period of patients; others are validated and tested on.

    The weights that do best on validation are kept, and with them the threshold that does.
    """

    name: ClassVar[str] = "visits"
    model_class: ClassVar[type[VisitsModel]] = VisitsModel
    unit: str = "patients"
    splits_batches = True
    instead: ClassVar[str] = "give --data"
    monitor: str = "jaccard"
    lower_is_better: ClassVar[bool] = False

    def read_data(self, known: Mapping[str, Any]) -> None:
        """Read the histories and split the patients."""
        self.histories, self.splits, self._facts = source_of(self.config)
        self.source, self.notes = self.histories.source, self.histories.notes
        size = self.config.batch_size * self.ranks.count
        self.units_per_step = min(size, len(self.splits.train))

    @cached_property
    def views(self) -> Views:
        """The histories as the model takes them."""
        return self.model.views(self.histories)

    def facts(self) -> Mapping[str, Any]:
        """Return the codes and their relations, and what identifies the histories."""
        return self._facts

    def load_pretrained(self, model: VisitsModel) -> None:
        """Take over the weights of a model trained before, of the same codes."""
        own = self.model
        if model.codes != own.codes or model.relations.count != own.relations.count:
            raise InputError("that run knows other codes or interactions")
        own.load_state_dict(model.state_dict())

    def summary(self) -> dict[str, str]:
        """Return what a user wants to know before training starts."""
        histories, config = self.histories, self.config
        kinds = [kind for kind, _ in histories.codes]
        codes = ", ".join(f"{kinds.count(kind):,} of {kind}" for kind in dict.fromkeys(kinds))
        single = sum(len(periods) < 2 for periods in histories.periods)
        text = {
            "note": NOT_ADVICE,
            "histories": f"{histories.source}: {len(histories.patients):,} patients, "
            f"{sum(map(len, histories.periods)):,} periods; codes: {codes}",
            "split": ", ".join(f"{len(part):,}" for part in self.splits)
            + " patients to train, validate, test on",
        }
        used = sum(map(len, self.splits))
        silent = len(histories.patients) - used - single
        left = {"of one period": single, "without drugs after the first": silent}
        if any(left.values()):
            text["left out"] = ", ".join(
                f"{counted(n, 'patient')} {why}" for why, n in left.items() if n
            )
        if interacting := len(self._facts["interactions"]):
            text["interactions"] = f"{counted(interacting, 'pair')} of drugs"
        if histories.notes:
            text["joined"] = "; ".join(histories.notes)
        sequence = f"{config.cell} over states"
        layers = counted(config.graph_layers, "layer")
        graph = f"{config.operator}, {layers} over {counted(config.window, 'period')}"
        views = {"both": f"{sequence}; {graph}", "sequence": sequence, "graph": graph}
        text["model"] = (
            f"{views[config.view]}; {config.hidden_size} wide, "
            f"{count_weights(self.model):,} parameters"
        )
        return text

    def batch(self, step: int) -> Batch:
        """Draw patients of the training set."""
        random = random_generator(self.config.seed, step)
        patients = random.choice(self.splits.train, self.units_per_step, replace=False)
        return self.views.batch(patients[self.ranks.part(len(patients), self.unit)])

    def loss(
        self, model: VisitsModel, batch: Batch, carry: Carry
    ) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Return mean nats per period: −Σ over drugs of ln p of what was."""
        logits = model(*batch.inputs)
        each = F.binary_cross_entropy_with_logits(logits, batch.targets, reduction="none")
        with torch.no_grad():
            predicted, given = logits.sigmoid() >= model.threshold, batch.targets > 0
            jaccard = (predicted & given).sum(1) / (predicted | given).sum(1)
        return each.sum(1).mean(), {"jaccard": jaccard.mean()}, ()

    def terms(self, batch: Batch) -> float:
        """Return the number of periods."""
        return float(len(batch.targets))

    def validate(self) -> Mapping[str, float]:
        """Return the scores of the validation patients, at the threshold that is best there."""
        chances = chances_of(self.model, self.views, self.splits.valid)
        truth = targets_of(self.histories, self.splits.valid)
        self.model.threshold.fill_(best_threshold(chances, truth))
        return score_drugs(chances, truth, float(self.model.threshold), self.config.k)

    def own_scores(self) -> Mapping[str, float]:
        """Return the scores of the test patients."""
        return self._score_model(self.histories, self.splits.test)

    def baselines(self) -> Mapping[str, float]:
        """Return the scores of the baselines on the test patients, and the best possible ones."""
        histories, splits, k = self.histories, self.splits, self.config.k
        scores = baselines(histories, splits, histories, splits.test, k)
        if self.config.data == GENERATED:
            valid, test = (best_chances(histories, p) for p in (splits.valid, splits.test))
            threshold = best_threshold(valid, targets_of(histories, splits.valid))
            truth = targets_of(histories, splits.test)
            scores |= named_scores({"best": score_drugs(test, truth, threshold, k)})
        return scores

    def score(self, tested: Histories, patients: Sequence[int]) -> dict[str, float]:
        """Score patients of other histories, which have the model's codes."""
        plain = baselines(self.histories, self.splits, tested, patients, self.config.k)
        return self._score_model(tested, patients) | plain

    def _score_model(self, tested: Histories, patients: Sequence[int]) -> dict[str, float]:
        model = self.model
        views = self.views if tested is self.histories else model.views(tested)
        chances, truth = chances_of(model, views, patients), targets_of(tested, patients)
        pairs = model.relations.interacting[: model.drugs, : model.drugs]
        scores = score_drugs(chances, truth, float(model.threshold), self.config.k, pairs)
        if pairs.any():
            scores["interacting_truth"] = interacting_share(truth > 0, pairs)
        return scores | {"tested_patients": len(patients), "tested_periods": len(truth)}

    def interpret(self, scores: Mapping[str, float]) -> str:
        """Return what the scores mean next to the baselines'."""
        others = baseline_scores(scores, BASELINES, "jaccard")
        text = f"Jaccard {scores['jaccard']:.3f}{list_scores(others, '.3f')}"
        if "best_jaccard" in scores:
            text += f"; best possible: {scores['best_jaccard']:.3f}"
        if "interacting" in scores:
            text += (
                f". {scores['interacting']:.1%} of the pairs predicted together interact, and "
                f"{scores['interacting_truth']:.1%} of those given"
            )
        text += verdict(scores["jaccard"], others)
        if scores["tested_patients"] < FEW:
            text += f". Only {scores['tested_patients']} patients were tested on: a small set"
        return f"{text}. {NOT_ADVICE[0].upper()}{NOT_ADVICE[1:]}"

    def title(self, test: Mapping[str, Any] | None) -> str:
        """Return data and view."""
        return f"{Path(self.config.data).name}, view {self.config.view}; {NOT_ADVICE}"

    def curves(self, test: Mapping[str, Any] | None) -> Sequence[Curve]:
        """Return loss and Jaccard, with that of logistic regression."""
        level = None
        if test is not None:
            value = test["logistic_jaccard"]
            level = value, f"{BASELINES['logistic']}, test set: {value:.3g}"
        return [
            Curve("loss", "loss, nats per period"),
            Curve("jaccard", "Jaccard, mean of periods", level),
        ]

    def draw_tested(self, test: Mapping[str, Any], folder: Path) -> None:
        """Draw the scores of the model and of all baselines."""
        draw_scores(test, folder / "scores.png", self.config.k, title=self.title(test))


FEW = 100
"""A test on fewer patients is called small."""


def chances_of(model: VisitsModel, views: Views, patients: Sequence[int]) -> np.ndarray:
    """Return probabilities of next drugs, `[Q, drugs]`, patient after patient."""
    found = current_ranks().map(
        lambda some: (model.chances([views.batch(some)]),), parts_of(patients)
    )
    return torch.cat([chances for (chances,) in found]).numpy()


def in_batches(batch: Any, patients: Sequence[int]) -> list[Batch]:
    """Make batches of as many patients as are scored at once."""
    return [batch(part) for part in parts_of(patients)]


def parts_of(patients: Sequence[int]) -> list[Sequence[int]]:
    """Return as many patients at a time as are scored at once."""
    return [
        patients[k : k + PATIENTS_PER_BATCH] for k in range(0, len(patients), PATIENTS_PER_BATCH)
    ]
