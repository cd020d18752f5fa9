"""`plait serve` of a visits run: a patient's history, and the drugs ranked for the next period."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from plait.errors import InputError
from plait.pages import SUGGESTED, Blocks, Control, Page, note, table
from plait.tasks.visits import NOT_ADVICE
from plait.tasks.visits.config import VisitsConfig
from plait.tasks.visits.events import KINDS
from plait.tasks.visits.model import VisitsModel
from plait.tasks.visits.task import VisitsTask, in_batches


def page(model: VisitsModel, config: VisitsConfig, facts: Mapping[str, Any]) -> Page:
    """Return the page: a patient, how many drugs are listed."""
    task = VisitsTask.restore(model, config, facts)
    histories = task.histories
    number = {name: k for k, name in enumerate(histories.patients)}
    last = model.views(histories).last
    drugs = [code for _, code in model.codes[: model.drugs]]
    pairs = model.relations.interacting[: model.drugs, : model.drugs]
    threshold = float(model.threshold)

    def answer(patient: str, top: int) -> Blocks:
        if patient not in number:
            shown = ", ".join(histories.patients[:3])
            raise InputError(f"there is no patient {patient[:40]!r}; there are {shown}, …")
        yield note(f"This is {NOT_ADVICE}.", "advice")
        k = number[patient]
        chances = model.chances(in_batches(last, [k])).numpy()[0]
        predicted = chances >= threshold
        rows = [
            [rank, drugs[d], float(chances[d]), "yes" if predicted[d] else "no",
             ", ".join(drugs[other] for other in np.flatnonzero(pairs[d] & predicted))]
            for rank, d in enumerate(np.argsort(-chances, kind="stable")[:top].tolist(), 1)
        ]  # fmt: skip
        yield table(
            f"Next period of {patient}: the {len(rows)} likeliest drugs",
            ["rank", "drug", "probability", "predicted", "interacts with"], rows, "drugs",
        )  # fmt: skip
        yield table(
            f"History of {patient}", ["period", *KINDS],
            [[at, *listed(histories.codes, codes)]
             for at, codes in enumerate(histories.periods[k], 1)], "history",
        )  # fmt: skip
        yield note(
            f"Predicted: a probability of at least {threshold:.3g}, which did best on validation. "
            "Interacts with: other predicted drugs, by the run's list of interactions.", "how",
        )  # fmt: skip

    tested = [histories.patients[k] for k in task.splits.test]
    controls = [
        Control("patient", "Patient", "text", tested[0], choices=tested[:SUGGESTED],
                help="Suggested are patients of the test set."),
        Control("top", "Drugs", "number", 10, least=1, most=min(50, len(drugs))),
    ]  # fmt: skip
    about = f"Choose a patient: the history, and the drugs of the next period; {NOT_ADVICE}."
    return Page(about, controls, answer)


def listed(codes: Any, numbers: np.ndarray) -> list[str]:
    """Return the codes of a period as text, kind by kind."""
    own = [codes[k] for k in numbers.tolist()]
    return [", ".join(code for of, code in own if of == kind) for kind in KINDS]
