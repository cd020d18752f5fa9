"""Section 9: recurrent networks over graphs: forecasts, prescriptions, and the whole grid."""

from collections.abc import Mapping, Sequence
from typing import Any

from plait.study.claims import Answer, answer, below, spelled, verdict_of
from plait.study.page import Block, Number, Picture, Table, Words, copied
from plait.study.runs import Made, Wanted, config_of, source_of, test_of

TITLE = "Both: sequences over graphs"
SAYS = """Recurrent and graph networks can be combined: graph convolutional recurrent networks find
structure in space and patterns in time, in video, in networks of sensors, in words; RGNN reads a
patient’s history in two views, as a sequence and as a graph, for the next prescription."""

CELLS = {
    "rnn": "RNN", "lstm": "LSTM", "lstm-peephole": "LSTM, peepholes", "gru": "GRU",
    "gru-before": "GRU, reset before",
}  # fmt: skip
OPERATORS = {
    "dense": "dense", "gcn": "GCN", "chebyshev": "Chebyshev", "diffusion": "diffusion",
    "attention": "attention",
}  # fmt: skip
VIEWS = {"both": "both views", "sequence": "the sequence alone", "graph": "the graph alone"}


def wanted(size: Mapping[str, Any]) -> dict[str, Wanted]:
    """The grid of cells and operators on waves over a graph, and patients in both views."""
    return {
        "waves": Wanted(
            "forecast", {"data": "waves", **size["waves"]},
            {"cell": size["cells"], "operator": tuple(OPERATORS)}, size["wave_seeds"],
            score="rmse", lower_is_better=True,
        ),
        "visits": Wanted(
            "visits", size["visits"], {"view": tuple(VIEWS)}, size["visit_seeds"], score="jaccard"
        ),
    }  # fmt: skip


def tell(
    made: Mapping[str, Made], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Answer]]:
    """Tell the grid, and what the two views of a patient are worth."""
    waves, visits = made["waves"], made["visits"]
    plain = test_of(waves.results[0])
    best = min(waves.results, key=lambda r: r.row["test_rmse"])
    source = source_of(best)
    rows: list[list[Any]] = [
        [CELLS[cell], *(waves.number("test_rmse", cell=cell, operator=o) for o in OPERATORS)]
        for cell in size["cells"]
    ]
    names = [n for n in plain["table"] if n not in ("network", "best possible")]
    beside = [[n, Number(plain["table"][n]["rmse_to"][-1], ".3f", [source])] for n in names]
    beside.append(["best possible", Number(plain["best_rmse"], ".3f", [source])])
    both = {"view": "both"}
    who = {
        "repeat_": "the last period again", "frequent_": "the most frequent",
        "logistic_": "logistic regression on counts", "best_": "who knows the rules",
    }  # fmt: skip
    scored = [(name, {"view": view}, "") for view, name in VIEWS.items()]
    scored += [(name, both, prefix) for prefix, name in who.items()]
    blocks: list[Block] = [
        Words(
            "Waves run over a graph of 48 places and are measured with noise; every network "
            "hears 12 "
            "steps and forecasts 12. One layer is a cell × an operator, and any cell runs with any "
            "operator:"
        ),
        Table(
            "9-grid",
            f"Root mean squared error of the forecast, "
            f"{len(CELLS) if len(rows) > 3 else len(rows)} "
            "cells × 5 operators; dense hears no neighbour.",
            ["cell", *OPERATORS.values()], rows,
        ),
        Table("9-plain", "The same error of forecasts without a network, and the least that there "
              "can be.", ["forecast", "RMSE"], beside),
        Picture("9-forecasts", f"Forecasts of the best of them, {_named(best)}.",
                copied(best.plan.path / "forecasts.png")),
        Words(
            "Generated patients, whose rules are known: which drugs come in the next period? A "
            "research tool, not medical advice."
        ),
        Table(
            "9-visits", "Next period’s drugs: overlap with what was given (Jaccard), and the area "
            "under precision and recall.",
            ["who predicts", "Jaccard", "PR-AUC"],
            [[name, *(visits.number(f"test_{prefix}{score}", **at)
                      for score in ("jaccard", "pr_auc"))] for name, at, prefix in scored],
        ),
    ]  # fmt: skip
    return blocks, answers(waves, visits, size["cells"])


def answers(waves: Made, visits: Made, cells: Sequence[str]) -> list[Answer]:
    """Say whether hearing neighbours, and whether both views, do better."""
    heard = [o for o in OPERATORS if o != "dense"]
    best = min(heard, key=lambda o: waves.number("test_rmse", operator=o).value or 0)
    differences = [
        d for cell in cells
        for d in waves.differences(
            "test_rmse", {"operator": best}, {"operator": "dense"}, cell=cell
        )
    ]  # fmt: skip
    lowest = min(waves.results, key=lambda r: r.row["test_rmse"])
    own, plain, least = (lowest.row[f"test_{n}rmse"] for n in ("", "baseline_", "best_"))
    source = [source_of(lowest)]
    told = [
        answer(
            verdict_of(below(differences)),
            "Hearing the neighbours ({}) changes the forecast’s error by {} beside the same cell "
            "without.",
            OPERATORS[best], spelled(differences, "+.3f"),
        ),
        answer(
            "measured",
            "The best network, {}, has an error of {}, {} the best forecast without one, {}; the "
            "least possible is {}.",
            _named(lowest), Number(own, ".3f", source),
            "below" if own < plain else "not below", Number(plain, ".3f", source),
            Number(least, ".3f", source),
        ),
    ]  # fmt: skip
    for view in ("sequence", "graph"):
        gains = visits.differences("test_jaccard", {"view": "both"}, {"view": view})
        less = below(gains)
        told.append(
            answer(
                verdict_of(None if less is None else not less),
                "Next prescriptions: both views beside {} change the overlap by {}.",
                VIEWS[view], spelled(gains, "+.3f"),
            )
        )  # fmt: skip
    return told


def _named(result: Any) -> str:
    config = config_of(result)
    return f"{CELLS[config.cell]} × {OPERATORS[config.operator]}"
