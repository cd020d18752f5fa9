"""What is said follows from the numbers: where they flip, so does what is said."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from plait import Graph
from plait.comparison.results import Measure, Result
from plait.diagnostics.gradients import LayerFlow
from plait.study.gate_activations import GateMeasurement, GateStatistics
from plait.study.graph_measures import influence
from plait.study.page import Number
from plait.study.runs import FinishedRuns, RunRequest
from plait.study.sections import (
    applications,
    fairy_tales,
    gates,
    gradients,
    graphs,
    memory,
    sequences_over_graphs,
    structure,
    text,
)
from plait.tasks.text.repetition import Repetition

SAME, OTHER, OPEN = "agrees with the report", "differs from the report", "inconclusive"


@pytest.mark.parametrize(
    ("differences", "verdict", "words"),
    [
        ([-30.0, -40.0, -35.0], SAME, "The GRU converges earlier"),
        ([30.0, 40.0, 35.0], OTHER, "The LSTM converges earlier"),
        ([-30.0, 40.0, -5.0], OPEN, "is inconclusive"),
        ([], OPEN, "is inconclusive"),
    ],
)
def test_which_cell_converges_earlier(differences, verdict, words):
    reported = memory.earlier(differences, [Number(100.0, ".0f"), Number(70.0, ".0f")])
    assert reported.verdict == verdict
    assert words in reported.text


def test_which_way_the_temperature_works():
    falling = {0.5: 4.0, 1.0: 2.0, 2.0: 1.0, math.inf: 0.0}
    rising = {0.5: 1.0, 1.0: 2.0, 2.0: 4.0, math.inf: 9.0}
    assert text.temperature_finding(falling, "x").verdict == OTHER
    assert text.temperature_finding(rising, "x").verdict == SAME


@pytest.mark.parametrize(
    ("greedy", "drawn", "verdicts"),
    [
        ([0.9, 0.95, 0.92], [0.2, 0.25, 0.22], [SAME, OTHER]),
        ([0.9, 0.95, 0.92], [0.01, 0.0, 0.005], [SAME, SAME]),
        ([0.01, 0.0, 0.005], [0.02, 0.04, 0.03], [OTHER, OPEN]),
    ],
)
def test_what_repeats(greedy, drawn, verdicts):
    repeated = Repetition(100, {2.0: drawn, math.inf: greedy}, [0.02, 0.04])
    assert [a.verdict for a in text.repetition_findings(repeated, "x")] == verdicts


def test_whether_a_draw_is_uniform():
    assert text.uniform_finding(3.0, 8, "x").verdict == SAME
    assert text.uniform_finding(2.9, 8, "x").verdict == OTHER


@pytest.mark.parametrize(
    ("plain", "bold", "verdict"),
    [
        ([0.7, 0.75, 0.72], [0.95, 0.94, 0.97], SAME),
        ([0.95, 0.94, 0.97], [0.7, 0.75, 0.72], OTHER),
        ([0.9, 0.8, 0.9], [0.8, 0.9, 0.9], OPEN),
    ],
)
def test_where_words_are_spelled_better(plain, bold, verdict):
    assert text.spelling_finding({1.0: plain, 2.0: bold}, "x").verdict == verdict


def test_who_predicts_better():
    low, high = Number(1.5), Number(2.5)
    assert "the network is better" in text.ngram_finding(low, high).text
    assert "the n-gram is better" in text.ngram_finding(high, low).text


@pytest.mark.parametrize(
    ("written", "usual", "words"),
    [
        ([0.5, 0.55, 0.52], 0.99, "less often than held-out"),
        ([0.99, 0.98, 0.99], 0.95, "more often than held-out"),
        ([0.94, 0.98, 0.96], 0.95, "as often"),
    ],
)
def test_known_words_are_no_correct_sentences(written, usual, words):
    reported = fairy_tales.words_finding(written, usual, "x")
    assert reported.verdict == "measured"
    assert words in reported.text


@pytest.mark.parametrize(
    ("own", "verdict", "words"),
    [
        ([0.9, 0.92, 0.91], "measured", "better than the best baseline, counting;"),
        ([0.5, 0.52, 0.51], "measured", "worse than the best baseline, counting;"),
        ([0.6, 0.8, 0.7], OPEN, "from the best baseline, counting, is inconclusive"),
        ([0.7, 0.7, 0.7], "measured", "the same as the best baseline, counting."),
    ],
)
def test_whether_a_network_gains(own, verdict, words):
    others = {"counting": [0.7, 0.7, 0.7], "guessing": [0.1, 0.1, 0.1]}
    reported = applications.gain_finding("Friends", own, others, ["x"])
    assert reported.verdict == verdict
    assert words in reported.text


@pytest.mark.parametrize(
    ("stacked", "layered", "verdict"),
    [
        ([0.1, 0.12, 0.11], [-0.2, -0.3, -0.1], SAME),
        ([-0.1, -0.12, -0.11], [0.2, 0.3, 0.1], OTHER),
        ([0.1, 0.12, 0.11], [0.2, 0.3, 0.25], OTHER),  # both gain, the graph network more
        ([-0.1, 0.1, 0.0], [0.0, 0.0, 0.0], OPEN),
    ],
)
def test_whether_depth_brings_the_lstm_more(stacked, layered, verdict):
    assert structure.depth_finding(stacked, layered, (1, 4)).verdict == verdict


def flow(shares: list[float]) -> LayerFlow:
    norms = torch.tensor(shares, dtype=torch.float64)
    return LayerFlow("layer 0", {"h": norms}, norms, 1.0, norms / norms.sum(), {}, None, None)


@pytest.mark.parametrize(
    ("tanh", "relu", "verdicts"),
    [
        ([1e-9, 1e-4, 1.0], [1e6, 1e3, 1.0], [SAME, SAME]),
        ([0.5, 0.7, 1.0], [2.0, 1.5, 1.0], [OTHER, OTHER]),
    ],
)
def test_whether_it_vanishes_and_explodes(tanh, relu, verdicts):
    assert verdicts_of({"tanh": [tanh], "relu": [relu]}) == verdicts


def test_where_the_seeds_differ_nothing_is_concluded():
    fading, kept = [1e-9, 1e-4, 1.0], [0.5, 0.7, 1.0]
    growing, tame = [1e6, 1e3, 1.0], [2.0, 1.5, 1.0]
    assert verdicts_of({"tanh": [fading, kept], "relu": [growing, tame]}) == [OPEN, OPEN]
    assert verdicts_of({"tanh": [fading, fading], "relu": [growing, growing]}) == [SAME, SAME]


def verdicts_of(shares: dict[str, list[list[float]]]) -> list[str]:
    """The first two verdicts of section 1, for the flows of the two plain networks by seed."""
    flows = [*shares.values(), [[1.0] * 3], [[1.0] * 3]]
    networks = {
        name: [
            gradients.Measured(flow(s), flow(s), 1.0, [1.0], 0.0, 1.0, 0.5, "x") for s in of_network
        ]
        for name, of_network in zip(gradients.NETWORKS, flows, strict=True)
    }
    return [found.verdict for found in gradients.findings(networks)[:2]]


def test_the_six_nodes_are_the_reports():
    graph = graphs.six_nodes()
    felt = influence(graph, 2, 4, 5)
    assert [value > 0 for value in felt] == [False] * 4 + [True] * 2

    def findings(graph: Graph, memory: dict) -> list:
        measured = graphs.Measured(felt, memory, torch.ones(1), [1.0], [0.2], ["x"])
        return graphs.findings(graph, measured)

    *found, attention = findings(graph, {10: (400, 100)})
    assert {one.verdict for one in found} == {SAME}
    assert attention.verdict == "measured"
    other = Graph.from_edges([(2, 4)], num_nodes=6).to_undirected()
    *found, _ = findings(other, {10: (100, 400)})
    assert {one.verdict for one in found} == {OTHER}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([(0.2, 0.6), (0.3, 0.6), (0.25, 0.7)], "closes"),
        ([(0.6, 0.2), (0.6, 0.3), (0.7, 0.25)], "opens"),
        ([(0.6, 0.601), (0.5, 0.5), (0.7, 0.68)], "as open as within"),
    ],
)
def test_what_is_said_of_the_forget_gate_between_words(found, words):
    reported = gates.gap_finding(found, "x")
    assert words in reported.text
    assert reported.verdict == "measured"


def test_what_the_gates_are_said_to_do():
    def measured(centre: float, closed: float) -> GateMeasurement:
        one = GateStatistics(0.5, 0.3, 0.0, 1.0, [2.5, closed, 4.0])
        g = GateStatistics(centre, 0.5, -1.0, 1.0, [2.4, 5.0, 5.0])
        return GateMeasurement(2.0, {"i": one, "f": one, "g": g, "o": one})

    def verdicts(centres: list[float], counted: int) -> list[str]:
        of_seeds = [measured(centre, 3.0) for centre in centres]
        counts = {"book": [["biases", "4·H", 8, Number(counted)]]}
        sources = {"strings": ["x"], "book": ["x"]}
        found = gates.findings(dict.fromkeys(sources, of_seeds), counts, sources)
        return [one.verdict for one in found]

    assert verdicts([0.0], 8) == [SAME, SAME, SAME, "measured", "measured"]
    assert verdicts([0.4], 9) == [OTHER, SAME, OTHER, "measured", "measured"]
    assert verdicts([0.0, 0.4], 8)[2] == OPEN  # centred with one seed only


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [([-50.0, -60.0, -55.0], "agrees with the paper"),
     ([50.0, 60.0, 55.0], "differs from the paper"), ([-50.0, 60.0, 1.0], OPEN)],
)  # fmt: skip
def test_whether_a_graph_helps_with_digits(differences, verdict):
    assert sequences_over_graphs.digits_finding(differences).verdict == verdict


def test_two_views_are_just_measured():
    assert sequences_over_graphs.view_finding("graph", [0.1, 0.11, 0.12]).verdict == "measured"
    assert sequences_over_graphs.view_finding("graph", [0.1, -0.11, 0.0]).verdict == OPEN


@pytest.mark.parametrize(
    ("seeds", "verdict", "words"),
    [(1, "measured", "of one seed"), (2, "agrees with the paper", ">−22.00 (")],
)
def test_words_of_one_seed_settle_nothing(seeds, verdict, words):
    vary = {"word_graph": [0, 4], "dropout": [0.0, 0.3]}
    perplexity = {(0, 0.0): 100.0, (4, 0.0): 103.0, (0, 0.3): 90.0, (4, 0.3): 68.0}
    request = RunRequest("text", {"units": "words"}, vary, range(seeds))
    grid = request.grid(Path("runs"))
    results = [
        Result(p, {"test_perplexity": perplexity[p.values["word_graph"], p.values["dropout"]]
                   + 0.1 * p.seed}, np.empty(0), False)
        for p in grid.plans
    ]  # fmt: skip
    reported = sequences_over_graphs.words_finding(
        FinishedRuns(request, grid, results, Measure("perplexity", True, None))
    )
    assert reported.verdict == verdict
    assert words in reported.text


def made(task: str, vary: dict, rows: list[dict], measure: Measure) -> FinishedRuns:
    request = RunRequest(task, {}, vary, (0, 1))
    grid = request.grid(Path("runs"))
    results = [Result(p, r, np.empty(0), False) for p, r in zip(grid.plans, rows, strict=True)]
    return FinishedRuns(request, grid, results, measure)


def test_validation_chooses_what_the_sections_name():
    scores = {  # network: on validation, on the test set
        "gcn": (0.9, 0.7), "diffusion": (0.8, 0.99), "lstm-bfs": (0.5, 0.6), "lstm-dfs": (0.6, 0.5),
    }  # fmt: skip
    rows = [
        {"valid_accuracy": scores[network][0], "test_accuracy": scores[network][1] + 0.001 * seed}
        for seed in (0, 1)
        for network in scores
    ]
    asked = made("structure", {"network": list(scores)}, rows, Measure("accuracy", False, None))
    reported = structure.kind_finding(
        "neighbours", asked, structure.OVER_GRAPH, structure.OVER_SEQUENCE
    )
    assert reported.verdict == SAME
    assert "GCN has accuracy" in reported.text
    assert "LSTM, depth first <" in reported.text


@pytest.mark.parametrize(
    ("last_frame", "better"), [(3.5, "is better"), (2.5, "is not better here")]
)
def test_whether_the_run_that_validation_chooses_is_better(last_frame, better):
    rows = [  # the third is best on the test set
        {"valid_cross_entropy": v, "test_cross_entropy": t, "test_last_frame_cross_entropy":
         last_frame, "test_mean_frame_cross_entropy": 4.0}
        for v, t in ((2.0, 5.0), (1.0, 3.0), (1.5, 1.0), (2.5, 6.0))
    ]  # fmt: skip
    digits = made("digits", {"network": ["gcrn", "lstm"]}, rows, Measure("cross_entropy", True, 0))
    reported = sequences_over_graphs.baseline_finding(
        "Digits", digits, ("last_frame", "mean_frame"), "a frame", ".1f"
    )
    assert reported.text.endswith(f"the network {better}.")
    assert 'metrics.jsonl">3.0</a>, the best baseline (a frame)' in reported.text


@pytest.mark.parametrize(("linear", "place"), [(3.5, "below"), (2.5, "not below")])
def test_the_forecast_that_stands_for_the_grid(linear, place):
    vary = {"cell": ["rnn", "gru"], "operator": ["dense", "chebyshev"]}
    rows = [
        {"valid_rmse": 2.0 - k % 4 * 0.1, "test_rmse": 3.0 + k % 4 * 0.1,
         "test_baseline_rmse": linear, "test_best_rmse": 1.0}
        for k in range(8)
    ]  # fmt: skip
    waves = made("forecast", vary, rows, Measure("rmse", True, None))
    operator, chosen = sequences_over_graphs.wave_findings(waves, vary["cell"])
    assert "over 2 cells with 2 seeds" in operator.text
    assert operator.verdict == "measured"
    assert "GRU × Chebyshev" in chosen.text
    assert f", {place} the best baseline forecast" in chosen.text


def test_the_gradients_that_are_printed_are_those_of_the_cells():
    entries = dict(gradients.derived().entries)
    assert list(entries) == [
        "RNN, tanh: one step", "RNN, tanh: its gradient", "LSTM: one step", "LSTM: its gradient",
    ]  # fmt: skip
    assert entries["RNN, tanh: one step"] == "h' = tanh(W_h x + b_h + U_h h)"
    plain = entries["RNN, tanh: its gradient"].splitlines()
    assert plain[:2] == ["δa_h = δh' ⊙ (1 − h' ⊙ h')", "δh = U_hᵀ δa_h"]
    assert "∂L/∂U_h = Σ_t δa_h hᵀ" in plain
    gated = entries["LSTM: its gradient"].splitlines()
    assert "δc = f ⊙ e2" in gated  # the way back that passes the forget gate alone
    assert [line.split(" = ")[0] for line in gated if "∂U" in line] == [
        f"∂L/∂U_{gate}" for gate in "ifgo"
    ]
