"""Temporal event graphs, and that nothing of the future is in them."""

import numpy as np
import pandas as pd
import pytest
import torch

from plait.nn.registry import OPERATORS
from plait.tasks.visits.batches import Relations, event_graph
from plait.tasks.visits.config import VisitsConfig
from plait.tasks.visits.events import COLUMNS
from plait.tasks.visits.histories import Histories
from plait.tasks.visits.model import VisitsModel

CODES = 6
FACTS = {
    "codes": [["drug", c] for c in "abcd"] + [["diagnosis", c] for c in "xy"],
    "related": [[4, 0], [1, 2]],
    "interactions": [[0, 1], [2, 3]],
}


@pytest.fixture(scope="module")
def histories() -> Histories:
    random = np.random.default_rng(1)
    rows = [
        (f"p{k}", t, *FACTS["codes"][c])
        for k in range(5)
        for t in range(4 + k % 2)
        for c in np.flatnonzero(random.random(CODES) < 0.6)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return Histories.of(table, "rows", tuple(map(tuple, FACTS["codes"])))


def test_event_graphs_by_their_definition(histories):
    links = Relations.of(FACTS)
    window = histories.periods[0][:3]
    nodes, lags, *edges = event_graph(window, links)
    period = 2 - lags
    expected = [set(), set(), set()]
    pairs = [(i, j) for i in range(len(nodes)) for j in range(len(nodes)) if i != j]
    for i, j in pairs:
        a, b = int(nodes[i]), int(nodes[j])
        own = CODES in (a, b)
        if period[i] == period[j]:
            if own:
                expected[0] |= {(i, j)}
            elif [min(a, b), max(a, b)] in FACTS["interactions"]:
                expected[2] |= {(i, j)}
        elif period[j] == period[i] + 1 and (a == b or [a, b] in FACTS["related"]):
            expected[1] |= {(i, j), (j, i)}
    found = [list(map(tuple, e.T.tolist())) for e in edges]
    assert [set(f) for f in found] == expected
    assert [len(f) for f in found] == [len(e) for e in expected]
    assert all(expected)


@pytest.mark.parametrize("operator", OPERATORS)
def test_patients_and_periods_are_independent_and_see_no_future(histories, operator):
    config = VisitsConfig(hidden_size=8, operator=operator)
    model = VisitsModel.from_facts(config, FACTS).double().eval()
    batch = model.views(histories).batch([0, 1, 2])

    def logits(b):
        return model(b.x.double(), *b.inputs[1:])

    together = logits(batch)
    alone = torch.cat([logits(model.views(histories).batch([k])) for k in (0, 1, 2)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    for k in (0, 1, 2):
        cut = Histories("cut", histories.codes, ("one",), [histories.periods[k][:2]])
        at_end = logits(model.views(cut).last([0]))
        row = [i for i, (t, b) in enumerate(batch.asked.T.tolist()) if (t, b) == (1, k)]
        torch.testing.assert_close(together[row], at_end, rtol=0, atol=1e-12)


def test_the_sequence_alone_makes_no_graphs(histories):
    model = VisitsModel.from_facts(VisitsConfig(hidden_size=8, view="sequence"), FACTS)
    batch = model.views(histories).batch([0, 1])
    assert batch.graphs == []
    assert model(*batch.inputs).shape == (len(batch.targets), 4)
