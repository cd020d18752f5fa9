"""Section 9: sequences over graphs: the grid, moving digits, words, the next prescription."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from plait.comparison.results import Result
from plait.data import find_data
from plait.study.claims import Answer, answer, below, settled, verdict_of
from plait.study.corpora import corpus
from plait.study.page import Block, Number, Picture, Table, Words, copied, difference_of, mean_of
from plait.study.runs import Made, Wanted, config_of, source_of, test_of

TITLE = "Both: sequences over graphs"
SAYS = """Recurrent and graph networks can be combined. Graph convolutional recurrent networks
(GCRN) find structure in space and patterns in time: in video, in networks of sensors, in walks over
a graph of words. RGNN reads a patient’s history in two views, as a sequence and as a graph, for the
next prescription. The paper of GCRN that it names (Seo et al. 2016) says more: the graph lowers the
error on moving digits and, with dropout, the perplexity of words."""

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

DIGITS = {"gcrn": "GCRN, over a graph of patches", "lstm": "LSTM, fully connected"}
DIGITS_PUBLISHED = {"gcrn": "3866", "lstm": "4832"}
"""Nats a sequence, Seo et al. (2016), K = 3, on frames of 64 × 64."""

WORDS = {(0, 0.0): "LSTM", (0, 0.3): "LSTM, dropout", (4, 0.0): "GCRN, Model 1",
         (4, 0.3): "GCRN, Model 1, dropout"}  # fmt: skip
WORDS_PUBLISHED = {(0, 0.0): "120.16", (0, 0.3): "112.98", (4, 0.3): "98.67"}
"""Test perplexity on the Penn Treebank, Seo et al. (2016)."""

VIEWS = {"both": "both views", "sequence": "the sequence alone", "graph": "the graph alone"}
WITHOUT_VIEW = {
    "repeat_": "the last period again", "frequent_": "the most frequent",
    "logistic_": "logistic regression on counts", "best_": "who knows the rules",
}  # fmt: skip


def wanted(size: Mapping[str, Any]) -> dict[str, Wanted]:
    """The grid on waves over a graph, digits in video, words with a graph and without, patients."""
    book = "ptb" if size["large"] and find_data("text/ptb.train.txt") else corpus("democracy")
    speeds = Wanted(
        "forecast", size["speeds"], {"operator": ("chebyshev",)}, size["seeds"], recipe="los-loop",
        score="rmse", lower_is_better=True,
    )  # fmt: skip
    return {
        **({"speeds": speeds} if size["large"] and find_data(SPEEDS) else {}),
        "waves": Wanted(
            "forecast", {"data": "waves", **size["waves"]},
            {"cell": size["cells"], "operator": tuple(OPERATORS)}, size["wave_seeds"],
            score="rmse", lower_is_better=True,
        ),
        "digits": Wanted(
            "digits", size["digits"], {"network": tuple(DIGITS)}, size["seeds"],
            score="cross_entropy", lower_is_better=True,
        ),
        "words": Wanted(
            "text", {"units": "words", "data": book, "cell": "lstm-peephole", **size["words"]},
            {"word_graph": (0, 4), "dropout": (0.0, 0.3)}, size["word_seeds"],
            score="perplexity", lower_is_better=True,
        ),
        "visits": Wanted(
            "visits", size["visits"], {"view": tuple(VIEWS)}, size["seeds"], score="jaccard"
        ),
    }  # fmt: skip


def tell(
    made: Mapping[str, Made], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Answer]]:
    """Tell the grid, then the three uses that the report names."""
    blocks: list[Block] = [
        *_grid(made["waves"], size["cells"]),
        *(_speeds(made["speeds"]) if "speeds" in made else []),
        *_digits(made["digits"]),
        *_words(made["words"]),
        *_visits(made["visits"]),
    ]
    return blocks, [
        *wave_answers(made["waves"], size["cells"]),
        digits_answer(
            made["digits"].differences("test_cross_entropy", {"network": "gcrn"},
                                       {"network": "lstm"})
        ),
        plain_answer("Moving digits", made["digits"], ("last_frame", "mean_frame"),
                     "the last or mean frame", ",.0f"),
        words_answer(made["words"]),
        plain_answer("Words", made["words"], ("ngram",), "a word n-gram", ".1f"),
        *(view_answer(
            view, made["visits"].differences("test_jaccard", {"view": "both"}, {"view": view})
        ) for view in ("sequence", "graph")),
        plain_answer("Next prescriptions", made["visits"], ("logistic", "repeat", "frequent"),
                     "logistic regression or repeating", ".3f"),
    ]  # fmt: skip


def plain_answer(what: str, made: Made, plain: Sequence[str], name: str, form: str) -> Answer:
    """Set the run that validation chooses beside the best of what predicts without a network."""
    choose, score = min if made.measure.lower_is_better else max, made.measure.score
    best = made.chosen()
    own = best.row[f"test_{score}"]
    other = choose(best.row[f"test_{prefix}_{score}"] for prefix in plain)
    wins = own != other and choose(own, other) == own
    source = [source_of(best)]
    return answer(
        "measured", "{}: the run that validation chooses has {}, {} {}; the network {}.", what,
        Number(own, form, source), name, Number(other, form, source),
        "wins" if wins else "does not win here",
    )  # fmt: skip


def wave_answers(waves: Made, cells: Sequence[str]) -> list[Answer]:
    """Say whether GCRN's operator lowers the error of the same cell; and how good the chosen is."""
    differences = [
        d for cell in cells for d in waves.differences(
            "test_rmse", {"operator": "chebyshev"}, {"operator": "dense"}, cell=cell
        )
    ]  # fmt: skip
    best, seeds = waves.chosen(), waves.wanted.seeds
    own, plain, least = (best.row[f"test_{n}rmse"] for n in ("", "baseline_", "best_"))
    source = [source_of(best)]
    return [
        answer(
            settled(differences),
            "Waves: hearing the neighbours as GCRN does (Chebyshev) changes the error by {} beside "
            "the same cell without, over {} cells of {}.",
            difference_of(differences, "+.3f", ["#9-grid"]), len(cells),
            "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds",
        ),
        answer(
            "measured",
            "The network that validation chooses, {}, has an error of {}, {} the best forecast "
            "without one, {}; the least possible is {}.",
            _named(best), Number(own, ".3f", source),
            "below" if own < plain else "not below", Number(plain, ".3f", source),
            Number(least, ".3f", source),
        ),
    ]  # fmt: skip


def words_answer(words: Made) -> Answer:
    """Say what the graph of words changes; the paper's lowers the perplexity, with dropout."""
    plain, dropped = (
        words.differences("test_perplexity", {"word_graph": 4}, {"word_graph": 0}, dropout=dropout)
        for dropout in (0.0, 0.3)
    )
    alone = len(dropped) == 1
    return answer(
        "measured" if alone else verdict_of(below(dropped), "paper"),
        "Words: the graph of words changes the perplexity by {}, with dropout by {}{}.",
        *(difference_of(of, "+.2f", ["#9-words"]) for of in (plain, dropped)),
        ", of one seed" if alone else "",
    )


def digits_answer(differences: Sequence[float]) -> Answer:
    """Say what the graph changes; the paper's lowers the cross-entropy."""
    said = "Moving digits: GCRN beside the fully connected LSTM changes the cross-entropy by {} "
    said += "nats a sequence."
    number = difference_of(differences, "+.1f", ["#9-digits"])
    return answer(verdict_of(below(differences), "paper"), said, number)


def view_answer(view: str, differences: Sequence[float]) -> Answer:
    """Say what the other view brings beside this one alone."""
    said = "Next prescriptions: both views beside {} change the overlap by {}."
    number = difference_of(differences, "+.3f", ["#9-visits"])
    return answer(settled(differences), said, VIEWS[view], number)


def _grid(waves: Made, cells: Sequence[str]) -> list[Block]:
    plain = test_of(waves.results[0])
    best = waves.chosen()
    config, source = config_of(best), source_of(best)
    names = [n for n in plain["table"] if n not in ("network", "best possible")]
    beside = [[n, Number(plain["table"][n]["rmse_to"][-1], ".3f", [source])] for n in names]
    beside.append(["best possible", Number(plain["best_rmse"], ".3f", [source])])
    return [
        Words(
            "Waves run over a graph of 48 places and are measured with noise; every network hears "
            f"{config.history} steps and forecasts {config.horizon}. One layer is a cell × an "
            "operator, and any cell runs with any operator:"
        ),
        Table(
            "9-grid",
            f"Root mean squared error of the forecast, {len(cells)} cells × {len(OPERATORS)} "
            f"operators{', one seed each' if len(waves.wanted.seeds) == 1 else ''}; dense hears no "
            "neighbour.",
            ["cell", *OPERATORS.values()],
            [[CELLS[cell], *(waves.number("test_rmse", cell=cell, operator=o) for o in OPERATORS)]
             for cell in cells],
        ),
        Table("9-plain", "The same error of forecasts without a network, and the least that there "
              "can be.", ["forecast", "RMSE"], beside),
        Picture("9-forecasts", f"Forecasts of the one that validation chooses, {_named(best)}.",
                copied(best.plan.path / "forecasts.png")),
    ]  # fmt: skip


def _speeds(speeds: Made) -> list[Block]:
    tables = [test_of(result)["table"] for result in speeds.results]
    sources = [source_of(result) for result in speeds.results]
    who = {"network": _named(speeds.results[0]), **{n: n for n in tables[0] if n != "network"}}

    def upto(name: str, steps: int) -> Number:
        values = [table[name]["rmse_to"][steps - 1] for table in tables]
        return mean_of(values, ".2f", sources)

    rows = [[name, *(upto(key, h) for h in SPEEDS_PUBLISHED)] for key, name in who.items()]
    published = Markup('<span class="published">{}</span>')
    rows.append(["T-GCN, published", *(published.format(v) for v in SPEEDS_PUBLISHED.values())])
    return [
        Words(
            "Speeds on the roads of Los Angeles, every five minutes at 207 detectors. The "
            "published figures are of slightly other windows, and were chosen on the test part."
        ),
        Table("9-speeds", "RMSE over all steps up to 15, 30, 45 and 60 minutes.",
              ["forecast", "15", "30", "45", "60 minutes"], rows),
    ]  # fmt: skip


def _digits(digits: Made) -> list[Block]:
    first = digits.of(network="gcrn")[0]
    config = config_of(first)
    side = config.frame
    rows: list[list[Any]] = [
        [name, digits.number("test_cross_entropy", ",.0f", network=network),
         _parameters(digits.of(network=network)[0]), DIGITS_PUBLISHED[network]]
        for network, name in DIGITS.items()
    ]  # fmt: skip
    rows += [
        [name, digits.number(f"test_{prefix}_cross_entropy", ",.0f", network="gcrn"), None, None]
        for prefix, name in (
            ("mean_frame", "the mean frame"), ("last_frame", "the last frame, faded into it"),
            ("least", "the least that can be"),
        )
    ]  # fmt: skip
    return [
        Words(
            f"Two digits, of {config.digits}’s 8 × 8 pixels, move in frames of {side} × {side}; of "
            f"{config.history} frames the next {config.horizon} are predicted. GCRN’s filter has "
            f"K = {config.order}."
        ),
        Table("9-digits", "Cross-entropy of the predicted frames, nats a sequence. The published "
              "figures are of MNIST’s digits in frames of 64 × 64, the report’s reference 3.",
              ["who predicts", "here", "parameters", "Seo et al. 2016"], rows, published=[3]),
        Picture("9-frames", "Digits never seen: what was heard, what came, and what GCRN "
                            "predicted.",
                copied(first.plan.path / "frames.png"), True),
    ]  # fmt: skip


def _words(words: Made) -> list[Block]:
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
        Words(
            f"A language model of the {config.vocabulary:,} commonest words of {config.data}, "
            "without and with a graph that joins words which keep the same company."
        ),
        Table("9-words", "Perplexity of held-out text; all other words are one unknown word. The "
              "published figures are of the Penn Treebank.",
              ["who predicts", "here", "Seo et al. 2016"], rows, published=[2]),
    ]  # fmt: skip


def _visits(visits: Made) -> list[Block]:
    rows = [(name, {"view": view}, "") for view, name in VIEWS.items()]
    rows += [(name, {"view": "both"}, prefix) for prefix, name in WITHOUT_VIEW.items()]
    return [
        Words(
            "Generated patients, whose rules are known: which drugs come in the next period? A "
            "research tool, not medical advice."
        ),
        Table("9-visits", "Next period’s drugs: overlap with what was given (Jaccard), and the "
                          "area "
              "under precision and recall.", ["who predicts", "Jaccard", "PR-AUC"],
              [[name, *(visits.number(f"test_{prefix}{score}", **at)
                        for score in ("jaccard", "pr_auc"))] for name, at, prefix in rows]),
    ]  # fmt: skip


def _parameters(result: Result) -> Number:
    return Number(result.row["parameters"], ",d", [source_of(result)])


def _named(result: Result) -> str:
    config = config_of(result)
    return f"{CELLS[config.cell]} × {OPERATORS[config.operator]}"
