"""Section 9: sequences over graphs: the grid, moving digits, words, the next prescription."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from plait.comparison.results import Result
from plait.data import find_data
from plait.study.corpora import corpus
from plait.study.page import (
    Block,
    Number,
    Paragraph,
    Picture,
    Table,
    copied,
    difference_of,
    mean_of,
)
from plait.study.runs import FinishedRuns, RunRequest, config_of, source_of, test_of
from plait.study.verdicts import Finding, below_zero, finding, measured_difference, verdict_of

TITLE = "Sequences over graphs"
REPORT_CLAIM = """Recurrent and graph networks can be combined. Graph convolutional recurrent
networks (GCRN) find spatial structure and temporal patterns: in video frames, networks of sensors,
random walks on a graph of words. RGNN represents a patient’s history in two views, a sequence and a
graph, to predict the next prescription. The GCRN paper that the report cites (Seo et al. 2016) says
more: the graph lowers the error on moving digits and, with dropout, the perplexity of words."""

CELLS = {
    "rnn": "RNN", "lstm": "LSTM", "lstm-peephole": "LSTM, peepholes", "gru": "GRU",
    "gru-before": "GRU, reset before",
}  # fmt: skip
OPERATORS = {
    "dense": "dense", "gcn": "GCN", "chebyshev": "Chebyshev", "diffusion": "diffusion",
    "attention": "attention",
}  # fmt: skip
SPEEDS = "series/los_speed.csv"
SPEEDS_PUBLISHED = {3: "5.13", 6: "6.06", 9: "6.71", 12: "7.27"}
"""RMSE of T-GCN by five-minute steps, Zhao et al. (2019): over all up to each, chosen on test."""

OF_NETWORK = {"combination": "{}, combined with simple forecasts", "network": "{}, alone"}
"""The rows of a forecast's table that are no baselines."""

DIGITS = {"gcrn": "GCRN, on a graph of patches", "lstm": "LSTM, fully connected"}
DIGITS_PUBLISHED = {"gcrn": "3866", "lstm": "4832"}
"""Nats per sequence, Seo et al. (2016), K = 3, on frames of 64 × 64."""

WORDS = {(0, 0.0): "LSTM", (0, 0.3): "LSTM, dropout", (4, 0.0): "GCRN, Model 1",
         (4, 0.3): "GCRN, Model 1, dropout"}  # fmt: skip
"""The networks by the option `word_graph` and the dropout."""

WORDS_PUBLISHED = {(0, 0.0): "120.16", (0, 0.3): "112.98", (4, 0.3): "98.67"}
"""Test perplexity on the Penn Treebank, Seo et al. (2016)."""

VIEWS = {"both": "both views", "sequence": "the sequence alone", "graph": "the graph alone"}
VISITS_BASELINES = {
    "repeat_": "repeating the last period", "frequent_": "the most frequent drugs",
    "logistic_": "logistic regression on counts", "best_": "best possible, knowing the rules",
}  # fmt: skip


def required_runs(size: Mapping[str, Any]) -> dict[str, RunRequest]:
    """Request waves over a graph, moving digits, words with and without a graph, patients."""
    book = "ptb" if size["large"] and find_data("text/ptb.train.txt") else corpus("democracy")
    speeds = RunRequest(
        "forecast", size["speeds"], {"operator": ("chebyshev",)}, size["seeds"], recipe="los-loop",
        score="rmse", lower_is_better=True,
    )  # fmt: skip
    return {
        **({"speeds": speeds} if size["large"] and find_data(SPEEDS) else {}),
        "waves": RunRequest(
            "forecast", {"data": "waves", **size["waves"]},
            {"cell": size["cells"], "operator": tuple(OPERATORS)}, size["wave_seeds"],
            score="rmse", lower_is_better=True,
        ),
        "digits": RunRequest(
            "digits", size["digits"], {"network": tuple(DIGITS)}, size["seeds"],
            score="cross_entropy", lower_is_better=True,
        ),
        "words": RunRequest(
            "text", {"units": "words", "data": book, "cell": "lstm-peephole", **size["words"]},
            {"word_graph": (0, 4), "dropout": (0.0, 0.3)}, size["word_seeds"],
            score="perplexity", lower_is_better=True,
        ),
        "visits": RunRequest(
            "visits", size["visits"], {"view": tuple(VIEWS)}, size["seeds"], score="jaccard"
        ),
    }  # fmt: skip


def render(
    runs: Mapping[str, FinishedRuns], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Finding]]:
    """Show the grid of cells and operators, then the applications that the report names."""
    blocks: list[Block] = [
        *_grid(runs["waves"], size["cells"]),
        *(_speeds(runs["speeds"]) if "speeds" in runs else []),
        *_digits(runs["digits"]),
        *_words(runs["words"]),
        *_visits(runs["visits"]),
    ]
    digits, visits = runs["digits"], runs["visits"]
    return blocks, [
        *wave_findings(runs["waves"], size["cells"]),
        *([baseline_finding("Speeds", runs["speeds"], ("baseline",), "a forecast without a network",
                            ".3f")] if "speeds" in runs else []),
        digits_finding(
            digits.differences("test_cross_entropy", {"network": "gcrn"}, {"network": "lstm"})
        ),
        baseline_finding("Moving digits", digits, ("last_frame", "mean_frame"),
                         "the last or mean frame", ",.0f"),
        words_finding(runs["words"]),
        baseline_finding("Words", runs["words"], ("ngram",), "a word n-gram", ".1f"),
        *(view_finding(
            view, visits.differences("test_jaccard", {"view": "both"}, {"view": view})
        ) for view in ("sequence", "graph")),
        baseline_finding("Next prescriptions", visits, ("logistic", "repeat", "frequent"),
                         "logistic regression, repetition or frequency", ".3f"),
    ]  # fmt: skip


def baseline_finding(
    what: str, runs: FinishedRuns, prefixes: Sequence[str], names: str, form: str
) -> Finding:
    """Compare the run that validation chooses with the best of its baselines."""
    choose, score = min if runs.measure.lower_is_better else max, runs.measure.score
    best = runs.best_on_validation()
    own = best.row[f"test_{score}"]
    other = choose(best.row[f"test_{prefix}_{score}"] for prefix in prefixes)
    better = own != other and choose(own, other) == own
    source = [source_of(best)]
    return finding(
        "measured",
        "{}: the run chosen on validation scores {}, the best baseline ({}) {}; the network {}.",
        what, Number(own, form, source), names, Number(other, form, source),
        "is better" if better else "is not better here",
    )  # fmt: skip


def wave_findings(waves: FinishedRuns, cells: Sequence[str]) -> list[Finding]:
    """Return whether GCRN's operator lowers a cell's error; and how good the chosen network is."""
    differences = [
        d for cell in cells for d in waves.differences(
            "test_rmse", {"operator": "chebyshev"}, {"operator": "dense"}, cell=cell
        )
    ]  # fmt: skip
    best, seeds = waves.best_on_validation(), waves.request.seeds
    own, plain, least = (best.row[f"test_{n}rmse"] for n in ("", "baseline_", "best_"))
    source = [source_of(best)]
    return [
        finding(
            measured_difference(differences),
            "Waves: aggregating neighbours as GCRN does (Chebyshev) changes the RMSE by {} "
            "compared with the same cell without a graph, over {} cells with {}.",
            difference_of(differences, "+.3f", ["#9-grid"]), len(cells),
            "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds",
        ),
        finding(
            "measured",
            "The network chosen on validation, {}, has RMSE {}, {} the best baseline forecast, {}; "
            "the lowest possible is {}.",
            _named(best), Number(own, ".3f", source),
            "below" if own < plain else "not below", Number(plain, ".3f", source),
            Number(least, ".3f", source),
        ),
    ]  # fmt: skip


def words_finding(words: FinishedRuns) -> Finding:
    """Return what the graph of words changes; the paper's lowers the perplexity, with dropout."""
    plain, dropped = (
        words.differences("test_perplexity", {"word_graph": 4}, {"word_graph": 0}, dropout=dropout)
        for dropout in (0.0, 0.3)
    )
    alone = len(dropped) == 1
    return finding(
        "measured" if alone else verdict_of(below_zero(dropped), "paper"),
        "Words: the graph of words changes the perplexity by {}, with dropout by {}{}.",
        *(difference_of(of, "+.2f", ["#9-words"]) for of in (plain, dropped)),
        ", of one seed" if alone else "",
    )


def digits_finding(differences: Sequence[float]) -> Finding:
    """Return what the graph changes; the paper's lowers the cross-entropy."""
    text = "Moving digits: GCRN changes the cross-entropy by {} nats per sequence compared with "
    text += "the fully connected LSTM."
    number = difference_of(differences, "+.1f", ["#9-digits"])
    return finding(verdict_of(below_zero(differences), "paper"), text, number)


def view_finding(view: str, differences: Sequence[float]) -> Finding:
    """Return what the other view adds to this one."""
    text = "Next prescriptions: both views instead of {} change the Jaccard score by {}."
    number = difference_of(differences, "+.3f", ["#9-visits"])
    return finding(measured_difference(differences), text, VIEWS[view], number)


def _grid(waves: FinishedRuns, cells: Sequence[str]) -> list[Block]:
    scores = test_of(waves.results[0])
    best = waves.best_on_validation()
    config, source = config_of(best), source_of(best)
    names = [n for n in scores["table"] if n not in (*OF_NETWORK, "best possible")]
    rows = [[n, Number(scores["table"][n]["rmse_to"][-1], ".3f", [source])] for n in names]
    rows.append(["lowest possible", Number(scores["best_rmse"], ".3f", [source])])
    return [
        Paragraph(
            "Waves travel over a graph of 48 nodes and are observed with noise. Every network sees "
            f"{config.history} steps and forecasts {config.horizon}. A recurrent layer is a cell × "
            "an operator, and every cell runs with every operator:"
        ),
        Table(
            "9-grid",
            "RMSE of the forecast, combined with simple ones by weights fitted on validation, "
            f"{len(cells)} cells × {len(OPERATORS)} operators"
            f"{', one seed each' if len(waves.request.seeds) == 1 else ''}; dense uses no graph.",
            ["cell", *OPERATORS.values()],
            [[CELLS[cell], *(waves.number("test_rmse", cell=cell, operator=o) for o in OPERATORS)]
             for cell in cells],
        ),
        Table("9-plain", "RMSE of baseline forecasts, and the lowest possible.",
              ["forecast", "RMSE"], rows),
        Picture("9-forecasts", f"Forecasts of the network chosen on validation, {_named(best)}.",
                copied(best.plan.path / "forecasts.png")),
    ]  # fmt: skip


def _speeds(speeds: FinishedRuns) -> list[Block]:
    tables = [test_of(result)["table"] for result in speeds.results]
    sources = [source_of(result) for result in speeds.results]
    named = _named(speeds.results[0])
    names = {n: OF_NETWORK[n].format(named) if n in OF_NETWORK else n for n in tables[0]}

    def upto(name: str, steps: int) -> Number:
        values = [table[name]["rmse_to"][steps - 1] for table in tables]
        return mean_of(values, ".2f", sources)

    rows = [[name, *(upto(key, h) for h in SPEEDS_PUBLISHED)] for key, name in names.items()]
    published = Markup('<span class="published">{}</span>')
    rows.append(["T-GCN, published", *(published.format(v) for v in SPEEDS_PUBLISHED.values())])
    return [
        Paragraph(
            "Speeds on the roads of Los Angeles, every five minutes at 207 detectors. The "
            "published figures are for slightly different windows, and were chosen on the test "
            "part."
        ),
        Table("9-speeds", "RMSE over all steps up to 15, 30, 45 and 60 minutes.",
              ["forecast", "15", "30", "45", "60 minutes"], rows),
    ]  # fmt: skip


def _digits(digits: FinishedRuns) -> list[Block]:
    first = digits.select(network="gcrn")[0]
    config = config_of(first)
    side = config.frame
    rows: list[list[Any]] = [
        [name, digits.number("test_cross_entropy", ",.0f", network=network),
         _parameters(digits.select(network=network)[0]), DIGITS_PUBLISHED[network]]
        for network, name in DIGITS.items()
    ]  # fmt: skip
    rows += [
        [name, digits.number(f"test_{prefix}_cross_entropy", ",.0f", network="gcrn"), None, None]
        for prefix, name in (
            ("mean_frame", "the mean frame"),
            ("last_frame", "the last frame, faded into the mean"),
            ("least", "lowest possible"),
        )
    ]
    return [
        Paragraph(
            f"Two digits, of the 8 × 8 pixels of {config.digits}, move in frames of {side} × "
            f"{side}; the network sees {config.history} frames and predicts the next "
            f"{config.horizon}. GCRN’s filter has K = {config.order}."
        ),
        Table("9-digits", "Cross-entropy of the predicted frames, nats per sequence. The published "
              "figures (the report’s reference 3) are for MNIST’s digits in frames of 64 × 64.",
              ["model", "here", "parameters", "Seo et al. 2016"], rows, published=[3]),
        Picture("9-frames", "Digits of the test set: input frames, the true next frames, and "
                "GCRN’s prediction.",
                copied(first.plan.path / "frames.png"), as_seen=True),
    ]  # fmt: skip


def _words(words: FinishedRuns) -> list[Block]:
    config = config_of(words.results[0])
    rows: list[list[Any]] = [
        [name, words.number("test_perplexity", ".1f", word_graph=graph, dropout=dropout),
         WORDS_PUBLISHED.get((graph, dropout))]
        for (graph, dropout), name in WORDS.items()
    ]  # fmt: skip
    ngram = words.number("test_ngram_perplexity", ".1f", word_graph=0, dropout=0.0)
    order = test_of(words.results[0])["ngram_order"]
    rows.append([f"interpolated {order}-gram of words", ngram, None])
    return [
        Paragraph(
            f"A language model of the {config.vocabulary:,} most frequent words of {config.data}, "
            "without and with a graph that connects distributionally similar words."
        ),
        Table("9-words", "Perplexity of the test set; all other words are one unknown word. The "
              "published figures are for the Penn Treebank.",
              ["model", "here", "Seo et al. 2016"], rows, published=[2]),
    ]  # fmt: skip


def _visits(visits: FinishedRuns) -> list[Block]:
    rows = [(name, {"view": view}, "") for view, name in VIEWS.items()]
    rows += [(name, {"view": "both"}, prefix) for prefix, name in VISITS_BASELINES.items()]
    return [
        Paragraph(
            "Generated patients, whose rules are known: which drugs are prescribed in the next "
            "period? A research tool, not medical advice."
        ),
        Table("9-visits", "The next period’s drugs: Jaccard similarity of predicted and prescribed "
              "drugs, and area under the precision–recall curve.", ["model", "Jaccard", "PR-AUC"],
              [[name, *(visits.number(f"test_{prefix}{score}", **at)
                        for score in ("jaccard", "pr_auc"))] for name, at, prefix in rows]),
    ]  # fmt: skip


def _parameters(result: Result) -> Number:
    return Number(result.row["parameters"], ",d", [source_of(result)])


def _named(result: Result) -> str:
    config = config_of(result)
    return f"{CELLS[config.cell]} × {OPERATORS[config.operator]}"
