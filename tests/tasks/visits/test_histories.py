"""Codes by number, parts by patient, what is related, and generated patients."""

import math
from itertools import chain, pairwise

import numpy as np
import pandas as pd
import pytest

from plait.errors import InputError
from plait.tasks.visits.baselines import best_chances
from plait.tasks.visits.config import VisitsConfig
from plait.tasks.visits.data import source_of
from plait.tasks.visits.events import COLUMNS
from plait.tasks.visits.generated import GIVEN, STRAY, Hospital
from plait.tasks.visits.histories import (
    Histories,
    join_interactions,
    read_interactions,
    related_codes,
)
from plait.tasks.visits.splits import split_patients

ROWS = [
    ("b", 4, "drug", "y"), ("b", 2, "drug", "x"), ("b", 2, "drug", "x"), ("b", 9, "diagnosis", "x"),
    ("a", 0, "drug", "z"),
]  # fmt: skip


def histories_of(rows, codes=None) -> Histories:
    return Histories.of(pd.DataFrame(rows, columns=COLUMNS), "rows", codes)


def test_codes_of_a_kind_are_distinguished_and_periods_without_events_are_none():
    histories = histories_of(ROWS)
    assert histories.codes == (("drug", "x"), ("drug", "y"), ("drug", "z"), ("diagnosis", "x"))
    assert histories.drugs == 3
    assert histories.patients == ("a", "b")
    assert [[p.tolist() for p in own] for own in histories.periods] == [[[2]], [[0], [1], [3]]]
    assert histories.asked(1) == [0]  # no drugs in the third
    assert histories.target(1, 0).tolist() == [0, 1, 0]
    assert histories.sha256 == histories_of(ROWS[::-1]).sha256
    assert histories.sha256 != histories_of(ROWS[:-1]).sha256


def test_codes_that_are_not_known_are_left_out_and_counted():
    histories = histories_of(ROWS, codes=(("drug", "y"), ("diagnosis", "x")))
    assert [[p.tolist() for p in own] for own in histories.periods] == [[[]], [[], [0], [1]]]
    assert histories.left_out == {"a": 1, "b": 1}


def test_patients_are_split_and_those_of_one_period_left_out():
    rows = [(f"p{k:02}", t, "drug", "x") for k in range(40) for t in range(1 + (k > 3))]
    histories = histories_of(rows)
    parts = split_patients(histories, 0)
    assert [len(part) for part in parts] == [26, 5, 5]
    assert sorted(chain.from_iterable(parts)) == list(range(4, 40))
    assert split_patients(histories, 0) == parts
    assert split_patients(histories, 1).test != parts.test


def test_related_codes_by_their_definition():
    random = np.random.default_rng(0)
    rows = [
        (f"p{k}", t, "drug", str(c))
        for k in range(30)
        for t in range(6)
        for c in np.flatnonzero(random.random(7) < 0.35)
    ]
    histories = histories_of(rows)
    steps = [s for own in histories.periods for s in pairwise(own)]
    n, expected = len(steps), []
    for b in range(7):
        scores = {}
        for a in range(7):
            n_a = sum(a in first for first, _ in steps)
            n_b = sum(b in then for _, then in steps)
            n_ab = sum(a in first and b in then for first, then in steps)
            lift = math.log(n * n_ab / (n_a * n_b))
            if a != b and n_ab >= 3 and lift > 0:
                scores[a] = n_ab * lift
        expected += [[a, b] for a in sorted(scores, key=scores.__getitem__, reverse=True)[:2]]
    assert len(expected) > 7
    assert related_codes(histories, range(30), 2) == expected


def test_what_is_related_is_found_in_the_training_set_alone():
    histories, parts, facts = source_of(VisitsConfig(patients=40))
    assert facts["related"] == related_codes(histories, parts.train, 3)
    assert facts["related"] != related_codes(histories, range(40), 3)


def test_interactions_are_pairs_of_known_drugs(tmp_path):
    path, codes = tmp_path / "pairs.csv", histories_of(ROWS).codes
    path.write_text("one,other,why\nz,x,bad\ny,q,bad\nx,z,again\ny,y,same\n")
    assert read_interactions(path, codes) == [[0, 2]]
    path.write_text("one,other\nq,r\n")
    with pytest.raises(InputError, match=r"no pair of it is of drugs in the events, such as x"):
        read_interactions(path, codes)
    path.write_text("x,y\ny,z\n")
    with pytest.raises(InputError, match=r"line 1: 'x' and 'y' are drugs, and no names of the col"):
        read_interactions(path, codes)
    path.write_text("one,other\nx,y\nz,\n")
    with pytest.raises(InputError, match=r"line 3: a pair is of two drugs, and one is missing"):
        read_interactions(path, codes)
    path.write_text("one\nq\n")
    with pytest.raises(InputError, match="the first two columns must be drugs that interact"):
        read_interactions(path, codes)


def test_drugs_that_interact_are_found_however_they_are_written_where_that_is_one(tmp_path):
    rows = [("a", 0, "drug", code) for code in ("Aspirin 81", "10", "x", "X", "y")]
    path, codes = tmp_path / "pairs.csv", histories_of(rows).codes
    assert [code for _, code in codes] == ["10", "Aspirin 81", "X", "x", "y"]
    path.write_text("one,other\naspirin  81,10.0\nx,010\nX,y\nx,X\n")
    joined = join_interactions(path, codes)
    assert joined.pairs == [[0, 1], [0, 3], [2, 3], [2, 4]]
    assert joined.note == (
        f"{path}: 4 of 4 pairs are of drugs in the events; 3 are written otherwise there, such as "
        "'aspirin  81' for 'Aspirin 81'"
    )
    path.write_text("one,other\nY,z\nY,x\n")
    assert join_interactions(path, codes) == (
        [[3, 4]],
        f"{path}: 1 of 2 pairs are of drugs in the events; 1 of its 3 drugs are not, such as 'z'; "
        "1 are written otherwise there, such as 'Y' for 'y'",
    )
    two = histories_of([row for row in rows if row[3] != "y"] + [("a", 0, "drug", "Q")]).codes
    path.write_text("one,other\nq,10\n")
    assert join_interactions(path, two).pairs == [[0, 2]]
    rows = [("a", 0, "drug", code) for code in ("q ", "Q", "10")]  # which of them is qQ?
    path.write_text("one,other\nq,10\n")
    with pytest.raises(InputError, match=r"no pair of it is of drugs in the events, such as 10"):
        join_interactions(path, histories_of(rows).codes)


D, X, P = "drug", "diagnosis", "procedure"


def due(hospital: Hospital, *history: list[tuple[str, str]]) -> set[str]:
    chances = hospital.chances(history)
    given = 1 - (1 - GIVEN) * (1 - STRAY)
    assert {round(float(p), 12) for p in chances} <= {round(given, 12), STRAY}
    return {d for d, p in zip(hospital.drugs, chances, strict=True) if p > 0.5}


def test_of_interacting_drugs_each_is_replaced():
    hospital = Hospital()
    first, second = hospital.interactions[0]
    one, two = first[:-1], second[:-1]
    other = {"a": "b", "b": "a"}
    written = [(X, one), (X, two)]
    alone = [*written, (D, first)]
    assert first in due(hospital, alone)
    both = [*alone, (D, second)]
    replaced = {one + other[first[-1]], two + other[second[-1]]}
    assert due(hospital, both) == replaced
    assert due(hospital, [(D, first), (D, second)]) == set()  # nothing is written down to treat
    again = due(hospital, written, [(D, f"{one}a")])
    assert again == {f"{one}a", f"{two}a"}  # what was not given begins with its first choice


def test_the_last_test_decides_between_the_drugs_for_an_acute_condition():
    hospital = Hospital()
    yes, no, ill = (P, "test-01 positive"), (P, "test-01 negative"), (X, "acute-01")
    assert due(hospital, [yes, ill]) == {"acute-01 line 2"}
    assert due(hospital, [no], [], [], [ill]) == {"acute-01 line 1"}
    assert due(hospital, [no], [yes], [], [ill]) == {"acute-01 line 2"}
    assert due(hospital, [yes], [no], [], [ill]) == {"acute-01 line 1"}
    assert due(hospital, [yes, ill], []) == set()


def test_generated_drugs_come_as_often_as_their_chances_say():
    config = VisitsConfig(patients=300)
    source = source_of(config)
    everyone = range(300)
    histories = source.histories
    chances = np.stack([
        Hospital().chances([[histories.codes[c] for c in codes] for codes in own[: t + 1]])
        for k in everyone for own in [histories.periods[k]] for t in histories.asked(k)
    ])  # fmt: skip
    place = [Hospital().number[code] for kind, code in histories.codes if kind == "drug"]
    chances = chances[:, place]
    # of the drugs that may come some do: only such periods are asked about
    some = 1 - np.exp(np.log1p(-chances).sum(1, keepdims=True))
    np.testing.assert_allclose(best_chances(histories, everyone), chances / some, rtol=1e-12)
    truth = np.stack([histories.target(k, t) for k in everyone for t in histories.asked(k)])
    for level in np.unique(chances):
        at = chances == level
        spread = math.sqrt(level * (1 - level) / at.sum())
        assert abs(truth[at].mean() - level) < 4 * spread
    chances = best_chances(histories, everyone)
    by_drug = (truth - chances).sum(0) / np.sqrt((chances * (1 - chances)).sum(0))
    assert np.abs(by_drug).max() < 4
    assert source.facts["sha256"] == source_of(config).facts["sha256"]
