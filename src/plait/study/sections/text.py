"""Section 4: table 1, figure 3 and listings 1 to 5: a network that learns a book."""

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from plait.figures import COLOURS
from plait.study.corpora import table_1
from plait.study.page import Block, Number, Paragraph, Picture, Table, drawing, mean_of
from plait.study.runs import FinishedRuns, RunRequest, config_of, run_of, source_of, test_of
from plait.study.text_blocks import accuracies, accuracy_table, listing
from plait.study.text_measures import SampledTexts, heldout_licence, measure_samples
from plait.study.verdicts import Finding, below_zero, finding, verdict_of
from plait.tasks.text.repetition import SPAN, Repetition

TITLE = "A character-level language model"
REPORT_CLAIM = """With the settings of table 1 the accuracy reaches about 0.62. Greedy text repeats
phrases and is coherent for 30 characters. The “temperature” controls how random sampling is: at 0
it is uniform, at large values greedy; at 2 words are mostly spelled correctly and, unlike in greedy
text, phrases do not repeat."""

TABLE_1 = {
    "learning rate": ("lr", 0.002), "sequence length": ("length", 30),
    "text": ("data", "democracy"), "training steps": ("steps", 3000),
    "hidden size": ("hidden_size", 128),
    "LSTM layers": ("layers", 2), "batch size": ("batch_size", 64), "max norm": ("max_norm", 5),
}  # fmt: skip
"""The report's table 1: each setting, its option here, and its value there."""

PUBLISHED = (0.590, 0.598, 0.619)
"""Training accuracy at 1/3, 2/3 and 3/3, the mean of the report's ten listings (single batches)."""

LISTINGS = {
    "Listing 1: 30 characters, greedy": ("%)P 6", 30, {"greedy": True}),
    "Listing 2: 100 characters, greedy": ("yw", 100, {"greedy": True}),
    "Listing 3: 100 characters, the report’s temperature 0.5 (β = 0.5)": ("l", 100, {"beta": 0.5}),
    "Listing 4: 100 characters, β = 1": ("/", 100, {"beta": 1.0}),
    "Listing 5: 100 characters, β = 2": ("S", 100, {"beta": 2.0}),
}
"""First characters, length, and how it is sampled."""


def required_runs(size: Mapping[str, Any]) -> dict[str, RunRequest]:
    """Request the network of table 1, on windows with a zero initial state, as in the report."""
    return {"runs": table_1("democracy", size)}


def render(
    runs: Mapping[str, FinishedRuns], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Finding]]:
    """Show how well it learns, what it generates, and what sharper sampling changes."""
    trained = runs["runs"]
    samples = measure_samples(trained.results, size["texts"], size["length"])
    return blocks(trained, samples), findings(trained, samples)


def blocks(trained: FinishedRuns, samples: SampledTexts) -> Sequence[Block]:
    """Return the tables, the listings and the pictures."""
    first = trained.results[0]
    config, source = config_of(first), source_of(first)
    own = config.data == "democracy"
    licence = heldout_licence(first)
    count = len(samples.first_repeats)
    return [
        Table(
            "4-settings", "Table 1: the settings of the report’s network, and of this one.",
            ["setting", "the report", "here"],
            [[name, str(value), Number(v, "g", [source]) if isinstance(v, int | float) else v]
             for name, (field, value) in TABLE_1.items() for v in [getattr(config, field)]],
            published=[1],
        ),
        accuracy_table(
            "4-accuracy", trained, [f"{p:.3f}" for p in PUBLISHED],
            "the report’s are means of ten single batches at each third", own,
        ),
        Table(
            "4-heldout",
            "Scores on the test set, the end of the file. The n-gram baseline is fitted to the "
            "same training text."
            + (f" {licence:.0%} of the test set is Project Gutenberg’s licence, which is unlike "
               "the book; the validation set, before it, is easier." if licence else ""),
            ["model", "bits per character", "accuracy"],
            [["the network", trained.number("test_bits_per_character"),
              trained.number("test_accuracy", ".1%")],
             [f"interpolated {test_of(first)['ngram_order']}-gram",
              trained.number("test_ngram_bits_per_character"),
              trained.number("test_ngram_accuracy", ".1%")]],
        ),
        Picture(
            "4-curves", "Figure 3: accuracy and bits per character over the training steps. "
            "Squares: the network on the test set; dashed line: the n-gram on the same part.",
            drawing(9.5, 3.8, lambda figure: _draw_curves(figure, trained, own)),
        ),
        Paragraph(
            "What the network generates after 1/3, 2/3 and 3/3 of its training, as in the report"
            + ("; the first seed’s network:" if len(trained.results) > 1 else ":")
        ),
        *(listing(title, first, prompts, length, len(PUBLISHED), **sampling)
          for title, (prompts, length, sampling) in LISTINGS.items()),
        Table(
            "4-sampling",
            "The effect of β. Entropy: of the next character’s distribution, over held-out text. "
            f"Known words: those that the training text has. Repeated: pieces of {SPAN} characters "
            f"that occurred before in the same text of {samples.repetition.length:,}. ± is over "
            f"{count} texts.",
            ["the report’s temperature, β", "temperature 1/β", "entropy, bits", "known words",
             "repeated"],
            _sampling_rows(samples, [source_of(r) for r in trained.results]),
        ),
        Picture(
            "4-repetition",
            f"Known words and repeated pieces by β. Bands: standard deviation over {count} texts; "
            "dashed line: repetition of held-out text.",
            drawing(6.5, 3.6, lambda figure: _draw_sampling(figure, samples)),
        ),
    ]  # fmt: skip


def findings(trained: FinishedRuns, samples: SampledTexts) -> list[Finding]:
    """Return how accuracy, sampling and repetition compare with the report."""
    sources = [source_of(r) for r in trained.results]
    own = config_of(trained.results[0]).data == "democracy"
    return [
        accuracy_finding(accuracies(trained, 3)[-1], own),
        ngram_finding(
            trained.number("test_bits_per_character"),
            trained.number("test_ngram_bits_per_character"),
        ),
        temperature_finding(samples.entropy, sources),
        uniform_finding(samples.entropy[0.0], samples.symbols, sources),
        *repetition_findings(samples.repetition, sources),
        spelling_finding(samples.known, sources),
        finding(
            "measured",
            "Greedy text first repeats {} characters after {} (median of {} texts).",
            SPAN, Number(statistics.median(samples.first_repeats), ".0f", sources),
            len(samples.first_repeats),
        ),
    ]  # fmt: skip


def temperature_finding(entropy: Mapping[float, float], sources: Sequence[str]) -> Finding:
    """Return which way the report's temperature works, from the entropy of sampling by β."""
    finite = sorted(b for b in entropy if math.isfinite(b))
    low, high = finite[0], finite[-1]
    falls = all(entropy[a] > entropy[b] for a, b in pairwise(finite))
    text = (
        "What the report calls temperature is an inverse temperature: from {} to {} the entropy of "
        "sampling falls from {} to {} bits, as the report describes; a temperature would raise it. "
        "It multiplies the logits; Plait calls it β."
        if falls
        else "What the report calls temperature acts as one: from {} to {} the entropy of sampling "
        "changes from {} to {} bits."
    )
    return finding(
        verdict_of(not falls), text, f"{low:g}", f"{high:g}",
        Number(entropy[low], ".2f", sources), Number(entropy[high], ".2f", sources),
    )  # fmt: skip


def uniform_finding(entropy: float, symbols: int, sources: Sequence[str]) -> Finding:
    """Return whether sampling at the report's temperature 0 is uniform, from its entropy."""
    uniform = math.isclose(entropy, math.log2(symbols), rel_tol=1e-6)
    return finding(
        verdict_of(uniform),
        "At 0 sampling is {}: its entropy is {} bits; {} equally likely symbols have {}.",
        "uniform" if uniform else "not uniform", Number(entropy, ".2f", sources), symbols,
        Number(math.log2(symbols), ".2f", sources),
    )  # fmt: skip


def repetition_findings(repeated: Repetition, sources: Sequence[str]) -> list[Finding]:
    """Return whether greedy text repeats itself, and whether text at β = 2 does not."""
    usual = statistics.fmean(repeated.heldout)
    found = []
    for beta, claim in ((math.inf, "repeats"), (2.0, "does not")):
        shares = repeated.written[beta]
        less = below_zero([share - usual for share in shares])
        more = None if less is None else not less
        text = {
            True: "{} text repeats itself: {} of its pieces, against {} in held-out text.",
            False: "{} text repeats itself less than held-out text: {} of its pieces, against {}.",
            None: "{} text repeats {} of its pieces, held-out text {}; the difference is "
            "inconclusive.",
        }[more]
        holds = more if claim == "repeats" else less
        name = "Greedy" if math.isinf(beta) else f"At β = {beta:g}, sampled"
        number = mean_of(shares, ".1%", sources)
        found.append(finding(verdict_of(holds), text, name, number, Number(usual, ".1%", sources)))
    return found


def spelling_finding(known: Mapping[float, Sequence[float]], sources: Sequence[str]) -> Finding:
    """Return whether more words are known ones at β = 2 than at 1, text by text."""
    at_2, at_1 = known[2.0], known[1.0]
    holds = below_zero([a - b for a, b in zip(at_1, at_2, strict=True)])
    text = {
        True: "Words are spelled better at β = 2 than at 1: {} occur in the training text, "
        "against {}.",
        False: "Words are spelled worse at β = 2 than at 1: {} occur in the training text, "
        "against {}.",
        None: "Whether words are spelled better at β = 2 than at 1 is inconclusive: {} and {} "
        "occur in the training text.",
    }[holds]
    numbers = (mean_of(shares, ".1%", sources) for shares in (at_2, at_1))
    return finding(verdict_of(holds), text, *numbers)


def accuracy_finding(reached: Number, own: bool) -> Finding:
    """Return the training accuracy with the report's."""
    text = "Training accuracy reaches {}; the report’s {}"
    published = Markup('<span class="published">{:.3f}</span>').format(PUBLISHED[-1])
    return finding("measured", text + ("." if own else ", on another text."), reached, published)


def ngram_finding(network: Number, ngram: Number) -> Finding:
    """Return which model predicts held-out text better."""
    wins = (network.value or 0) < (ngram.value or 0)
    text = "Bits per character on the test set, which the report does not score: network {}, "
    text += "n-gram {}; the network is better." if wins else "n-gram {}; the n-gram is better."
    return finding("measured", text, network, ngram)


def _sampling_rows(samples: SampledTexts, sources: Sequence[str]) -> list[list[Any]]:
    repetition, entropy = samples.repetition, samples.entropy
    return [
        ["0, uniform", "∞", Number(entropy[0.0], ".2f", sources), None, None],
        *([_name(beta), _name(1 / beta), Number(entropy[beta], ".2f", sources),
           mean_of(samples.known[beta], ".1%", sources), mean_of(shares, ".1%", sources)]
          for beta, shares in repetition.written.items()),
        ["held-out text", None, None, None, mean_of(repetition.heldout, ".1%", sources)],
    ]  # fmt: skip


def _name(beta: float) -> str:
    return "∞, greedy" if math.isinf(beta) else f"{beta:.3g}"


def _draw_curves(figure: Figure, trained: FinishedRuns, own: bool) -> None:
    left, right = figure.subplots(1, 2)
    for seed, result in enumerate(trained.results):
        records = run_of(result).records()
        train = [r for r in records if r["kind"] == "train"]
        valid = [r for r in records if r["kind"] == "valid"]
        window = max(1, len(train) // 30)
        for axes, score in ((left, "accuracy"), (right, "bits_per_character")):
            values = np.convolve([r[score] for r in train], np.full(window, 1 / window), "valid")
            steps = np.arange(window, len(train) + 1)
            label = f"training, mean of {window} steps" if seed == 0 else None
            axes.plot(steps, values, color=COLOURS[0], linewidth=1, label=label)
            label = "validation" if seed == 0 else None
            axes.plot([r["step"] for r in valid], [r[score] for r in valid], ".-",
                      color=COLOURS[1], linewidth=1, label=label)  # fmt: skip
            axes.set_xlabel("training step")
    test = test_of(trained.results[0])
    for axes, score in ((left, "ngram_accuracy"), (right, "ngram_bits_per_character")):
        label = f"{test['ngram_order']}-gram, test set"
        axes.axhline(test[score], color=COLOURS[5], linestyle="--", label=label)
        tested = trained.values(f"test_{score.removeprefix('ngram_')}")
        ends = [r.row["best_step"] for r in trained.results]
        axes.plot(ends, tested, "s", color=COLOURS[5], markersize=5, label="test set")
    if own:
        steps = config_of(trained.results[0]).steps
        places, label = [steps * k / 3 for k in (1, 2, 3)], "the report, by thirds of 3,000 steps"
        left.plot(places, PUBLISHED, "D", color="0.3", markersize=4, label=label)
    left.set_ylabel("accuracy")
    right.set_ylabel("bits per character")
    right.set_ylim(top=min(5.0, right.get_ylim()[1]))
    left.legend(loc="lower right")
    right.legend()


def _draw_sampling(figure: Figure, samples: SampledTexts) -> None:
    axes = figure.subplots()
    written = samples.repetition.written
    places = np.arange(len(written))
    for shares, mark, colour, label in (
        (samples.known, "o-", COLOURS[2], "known words"),
        (written, "s-", COLOURS[1], "repeated pieces"),
    ):
        mean = np.array([statistics.fmean(s) for s in shares.values()])
        spread = np.array([statistics.stdev(s) for s in shares.values()])
        axes.plot(places, mean, mark, color=colour, label=label)
        axes.fill_between(places, mean - spread, mean + spread, color=colour, alpha=0.2, lw=0)
    axes.axhline(statistics.fmean(samples.repetition.heldout), color="0.3", linestyle="--",
                 label="repeated, held-out text")  # fmt: skip
    axes.set_xticks(places, [_name(beta) for beta in written])
    axes.set_xlabel("β, the report’s temperature")
    axes.set_ylabel("share")
    axes.set_ylim(-0.03, 1.03)
    figure.legend(loc="outside lower center", ncols=3)
