"""The visits task: what the training loop asks of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from plait.errors import InputError
from plait.figures import Curve, draw_curves
from plait.tasks.beside import list_scores, verdict
from plait.tasks.visits import NOT_ADVICE
from plait.tasks.visits.baselines import baselines, targets_of
from plait.tasks.visits.batches import Batch, Views
from plait.tasks.visits.config import GENERATED, VisitsConfig
from plait.tasks.visits.histories import Histories
from plait.tasks.visits.model import VisitsModel
from plait.tasks.visits.picture import draw_scores
from plait.tasks.visits.scores import best_threshold, interacting_share, named, score_drugs
from plait.tasks.visits.source import best_chances, source_of
from plait.training.streams import random_generator
from plait.training.task import Carry

AT_ONCE = 32
"""Patients scored side by side."""

BASELINES = {
    "repeat": "the last period again",
    "frequent": "the most frequent",
    "logistic": "logistic regression on counts",
}


class VisitsTask:
    """Predict the drugs of every next period of patients; others are validated and tested on.

    The weights that do best on validation are kept, and with them the threshold that does.
    """

    name: ClassVar[str] = "visits"
    unit: ClassVar[str] = "patients"
    criterion: ClassVar[str] = "jaccard"
    lower_is_better: ClassVar[bool] = False

    def __init__(
        self, config: VisitsConfig, device: torch.device, known: Mapping[str, Any] | None = None
    ) -> None:
        self.config = config
        self.histories, self.parts, self._facts = source_of(config)
        self.units_per_step = min(config.batch_size, len(self.parts.train))
        self.model = VisitsModel(config, self._facts).to(device)
        self.views = self.model.views(self.histories)

    def facts(self) -> Mapping[str, Any]:
        """What rebuilds the model, and what tells whether the histories are the same."""
        return self._facts

    def begin_with(self, model: VisitsModel) -> None:
        """Take over the weights of a model trained before, of the same codes."""
        if model.codes != self.model.codes or model.links.relations != self.model.links.relations:
            raise InputError("that run knows other codes or interactions")
        self.model.load_state_dict(model.state_dict())

    def summary(self) -> dict[str, str]:
        """What a person wants to know before it starts."""
        histories, config = self.histories, self.config
        kinds = [kind for kind, _ in histories.codes]
        codes = ", ".join(f"{kinds.count(kind):,} of {kind}" for kind in dict.fromkeys(kinds))
        single = sum(len(periods) < 2 for periods in histories.periods)
        told = {
            "note": NOT_ADVICE,
            "histories": f"{histories.source}: {len(histories.patients):,} patients, "
            f"{sum(map(len, histories.periods)):,} periods; codes: {codes}",
            "parts": ", ".join(f"{len(part):,}" for part in self.parts)
            + " patients to train, validate, test on",
        }
        used = sum(map(len, self.parts))
        silent = len(histories.patients) - used - single
        left = {"of one period": single, "without drugs after the first": silent}
        if any(left.values()):
            told["left out"] = ", ".join(f"{n:,} patients {why}" for why, n in left.items() if n)
        if interacting := len(self._facts["interactions"]):
            told["interactions"] = f"{interacting:,} pairs of drugs"
        if histories.notes:
            told["joined"] = "; ".join(histories.notes)
        parameters = sum(p.numel() for p in self.model.parameters())
        sequence = f"{config.cell} over states"
        graph = f"{config.operator}, {config.graph_layers} layers over {config.window} periods"
        views = {"both": f"{sequence}; {graph}", "sequence": sequence, "graph": graph}
        told["model"] = (
            f"{views[config.view]}; {config.hidden_size} wide, {parameters:,} parameters"
        )
        return told

    def start(self) -> Carry:
        """Nothing: every history is whole."""
        return ()

    def loss(self, step: int, carry: Carry) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Mean nats a period: −Σ over drugs of ln p of what was."""
        random = random_generator(self.config.seed, step)
        patients = random.choice(self.parts.train, self.units_per_step, replace=False)
        batch = self.views.batch(patients)
        logits = self.model(*batch.inputs)
        each = F.binary_cross_entropy_with_logits(logits, batch.targets, reduction="none")
        with torch.no_grad():
            said, given = logits.sigmoid() >= self.model.threshold, batch.targets > 0
            jaccard = (said & given).sum(1) / (said | given).sum(1)
        return each.sum(1).mean(), {"jaccard": jaccard.mean()}, ()

    def validate(self) -> Mapping[str, float]:
        """Scores of the validation patients, with the threshold that is best for them."""
        chances = self._chances(self.parts.valid)
        truth = targets_of(self.histories, self.parts.valid)
        self.model.threshold.fill_(best_threshold(chances, truth))
        return score_drugs(chances, truth, float(self.model.threshold), self.config.k)

    def test(self) -> Mapping[str, float]:
        """Scores of the test patients, and of whoever has no network, or knows the rules."""
        return self.score(self.histories, self.parts.test)

    def score(self, tested: Histories, patients: Sequence[int]) -> dict[str, float]:
        """Score patients of these histories, which have the model's codes."""
        config, model = self.config, self.model
        own = tested is self.histories
        views = self.views if own else model.views(tested)
        chances, truth = chances_of(model, views, patients), targets_of(tested, patients)
        D, threshold = model.drugs, float(model.threshold)
        pairs = model.links.interacting[:D, :D]
        scores = score_drugs(chances, truth, threshold, config.k, pairs)
        if pairs.any():
            scores["interacting_truth"] = interacting_share(truth > 0, pairs)
        scores |= baselines(self.histories, self.parts, tested, patients, config.k)
        if own and config.data == GENERATED:
            best = best_chances(tested, patients)
            valid = best_chances(tested, self.parts.valid)
            threshold = best_threshold(valid, targets_of(tested, self.parts.valid))
            scores |= named("best", score_drugs(best, truth, threshold, config.k))
        return scores | {"tested_patients": len(patients), "tested_periods": len(truth)}

    def remark(self, scores: Mapping[str, float]) -> str:
        """Say what the scores mean beside those of whoever has no network."""
        beside = {text: scores[f"{name}_jaccard"] for name, text in BASELINES.items()}
        text = f"Jaccard {scores['jaccard']:.3f}{list_scores(beside, '.3f')}"
        if "best_jaccard" in scores:
            text += f"; best possible: {scores['best_jaccard']:.3f}"
        if "interacting" in scores:
            text += (
                f". {scores['interacting']:.1%} of the pairs predicted together interact, and "
                f"{scores['interacting_truth']:.1%} of those given"
            )
        text += verdict(scores["jaccard"], beside)
        if scores["tested_patients"] < FEW:
            text += f". Only {scores['tested_patients']} patients were tested on: a small set"
        return f"{text}. {NOT_ADVICE[0].upper()}{NOT_ADVICE[1:]}"

    def sample(self, step: int) -> str:
        """Write nothing."""
        return ""

    def draw(self, records: list[dict[str, Any]], path: Path) -> None:
        """Draw the loss and the Jaccard over the steps, and after the test all beside another."""
        config = self.config
        title = f"{Path(config.data).name}, view {config.view}; {NOT_ADVICE}"
        curves = [
            Curve("loss", "loss, nats a period"),
            Curve("jaccard", "Jaccard, mean of periods"),
        ]
        for test in (r for r in records if r["kind"] == "test"):
            level = test["logistic_jaccard"]
            label = f"{BASELINES['logistic']}, test part: {level:.3g}"
            curves[1] = replace(curves[1], baseline=(level, label))
            draw_scores(test, path.with_name("scores.png"), config.k, title=title)
        draw_curves(records, curves, path, title=title)

    def _chances(self, patients: Sequence[int]) -> np.ndarray:
        return chances_of(self.model, self.views, patients)


FEW = 100
"""Fewer patients than this are said to be few."""


def chances_of(model: VisitsModel, views: Views, patients: Sequence[int]) -> np.ndarray:
    """Give probabilities of next drugs, `[Q, drugs]`, patient after patient."""
    return model.chances(in_batches(views.batch, patients)).numpy()


def in_batches(batch: Any, patients: Sequence[int]) -> list[Batch]:
    """Make batches of as many patients as are scored at once."""
    return [batch(patients[k : k + AT_ONCE]) for k in range(0, len(patients), AT_ONCE)]
