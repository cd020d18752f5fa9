"""Section 4: table 1, figure 3 and listings 1 to 5: a network that learns a book."""

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from matplotlib.figure import Figure
from torch import Tensor

from plait.figures import COLOURS
from plait.study.claims import Answer, answer, below, verdict_of
from plait.study.corpora import table_1
from plait.study.page import Block, Number, Picture, Table, Words, drawing, mean_of
from plait.study.prose import (
    accuracies,
    accuracy_table,
    known_share,
    licence_share,
    listing,
    words_of,
)
from plait.study.runs import Made, Wanted, config_of, model_of, run_of, source_of, test_of
from plait.tasks.text.inference import splits_of
from plait.tasks.text.model import TextModel
from plait.tasks.text.repetition import BETAS, SPAN, Repetition, measure_repetition

TITLE = "A network writes on"
SAYS = """With the settings of table 1 the accuracy comes to about 0.62. Greedy text repeats phrases
and holds together for 30 characters. The “temperature” makes drawing more or less random: at 0 it
is uniform, when very large greedy; at 2 words are mostly spelled right and, unlike greedy, no
phrases repeat."""

TABLE_1 = {
    "learning rate": ("lr", 0.002), "sequence length": ("length", 30),
    "text": ("data", "democracy"), "training steps": ("steps", 3000),
    "hidden size": ("hidden_size", 128),
    "LSTM layers": ("layers", 2), "batch size": ("batch_size", 64), "max norm": ("max_norm", 5),
}  # fmt: skip
"""What the report's Table 1 says."""

PUBLISHED = (0.590, 0.598, 0.619)
"""Training accuracy at 1/3, 2/3 and 3/3, the mean of the report's ten listings (single batches)."""

LISTINGS = {
    "Listing 1: 30 characters, greedy": ("%)P 6", 30, {"greedy": True}),
    "Listing 2: 100 characters, greedy": ("yw", 100, {"greedy": True}),
    "Listing 3: 100 characters, the report’s temperature 0.5 (β = 0.5)": ("l", 100, {"beta": 0.5}),
    "Listing 4: 100 characters, β = 1": ("/", 100, {"beta": 1.0}),
    "Listing 5: 100 characters, β = 2": ("S", 100, {"beta": 2.0}),
}
"""First characters, length, and how it is drawn."""

READ = 2000
"""Held-out characters over which the entropy of a draw is measured."""


def wanted(size: Mapping[str, Any]) -> dict[str, Wanted]:
    """The network of table 1, from windows with a zero state, as the report trains it."""
    return {"runs": table_1("democracy", size)}


def tell(
    made: Mapping[str, Made], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Answer]]:
    """Tell how well it learns, what it writes, and how drawing changes that."""
    runs = made["runs"]
    first = runs.results[0]
    model, config, facts = model_of(first), config_of(first), run_of(first).facts
    source, own = source_of(first), config.data == "democracy"
    training, validation, testing = splits_of(model, config, facts)
    licence = licence_share(model.vocabulary.decode(testing.tolist()))
    repeated = measure_repetition(model, config, facts, texts=size["texts"], length=size["length"])
    entropy = {beta: _entropy(model, validation[:READ], beta) for beta in (0.0, *BETAS)}
    known = set(words_of(model.vocabulary.decode(training.tolist())))
    written = {beta: _written(model, beta, size, config.seed) for beta in BETAS}
    spelled = {
        beta: [known_share(text, known) for text in texts] for beta, texts in written.items()
    }
    blocks: list[Block] = [
        Table(
            "4-settings", "Table 1: what the report’s network was trained with, and this one.",
            ["setting", "the report", "here"],
            [[name, str(value), Number(v, "g", [source]) if isinstance(v, int | float) else v]
             for name, (field, value) in TABLE_1.items() for v in [getattr(config, field)]],
            published=[1],
        ),
        accuracy_table(
            "4-accuracy", runs, [f"{p:.3f}" for p in PUBLISHED],
            "the report’s are means of ten single batches at each third", own,
        ),
        Table(
            "4-heldout",
            "On the test part, the end of the file. The n-gram counts what follows each few "
            "characters in the same training text."
            + (f" Of the test part {licence:.0%} is Project Gutenberg’s licence, which reads "
               "unlike the book: the validation part, before it, is easier." if licence else ""),
            ["who predicts", "bits per character", "right characters"],
            [["the network", runs.number("test_bits_per_character"),
              runs.number("test_accuracy", ".1%")],
             [f"interpolated {test_of(first)['ngram_order']}-gram",
              runs.number("test_ngram_bits_per_character"),
              runs.number("test_ngram_accuracy", ".1%")]],
        ),
        Picture(
            "4-curves", "Figure 3: accuracy and bits per character over the training steps. The "
            "squares are the network on the test part, to be held against the dashed line, the "
            "n-gram on the same.",
            drawing(9.5, 3.8, lambda figure: _draw_curves(figure, runs, own)),
        ),
        Words("What the network writes after 1/3, 2/3 and 3/3 of its training, as in the report:"),
        *(listing(title, first, *asked, **how) for title, (*asked, how) in LISTINGS.items()),
        Table(
            "4-drawing",
            "How sharply is drawn. Entropy: of the next character, over held-out text. Known "
            f"words: those that the training text has. Repeated: pieces of {SPAN} characters that "
            f"the same text of {repeated.length:,} had before. ± is over {size['texts']} texts.",
            ["the report’s temperature, β", "temperature 1/β", "entropy, bits", "known words",
             "repeated"],
            [["0, uniform", "∞", Number(entropy[0.0], ".2f", [source]), None, None]] +
            [[_name(beta), _name(1 / beta),
              Number(entropy[beta], ".2f", [source]), mean_of(spelled[beta], ".1%", [source]),
              Number(statistics.fmean(shares), ".1%", [source], statistics.stdev(shares))]
             for beta, shares in repeated.written.items()] +
            [["held-out text", None, None, None, mean_of(repeated.heldout, ".1%", [source])]],
        ),
        Picture(
            "4-repetition",
            "Known words and repeated pieces by β. The bands are the standard deviation of "
            f"{size['texts']} texts, the dashed line the repetition of held-out text.",
            drawing(6.5, 3.6, lambda figure: _draw_drawing(figure, repeated, spelled)),
        ),
    ]  # fmt: skip
    begins = [_first_repeat(text) for text in written[math.inf]]
    answers = [
        _accuracy_answer(accuracies(runs, 3)[-1], own),
        ngram_answer(
            runs.number("test_bits_per_character"), runs.number("test_ngram_bits_per_character")
        ),
        temperature_answer(entropy, source),
        uniform_answer(entropy[0.0], len(model.vocabulary), source),
        *repetition_answers(repeated, source),
        spelling_answer(spelled, source),
        answer(
            "measured",
            "Greedy text first says {} characters again after {} (the median of {} texts).",
            SPAN, Number(statistics.median(begins), ".0f", [source]), len(begins),
        ),
    ]  # fmt: skip
    return blocks, answers


def temperature_answer(entropy: Mapping[float, float], source: str) -> Answer:
    """Say which way the report's temperature works, from the entropy of draws by its value."""
    finite = sorted(b for b in entropy if math.isfinite(b))
    low, high = finite[0], finite[-1]
    falls = all(entropy[a] > entropy[b] for a, b in pairwise(finite))
    said = (
        "The report’s temperature is the inverse of one: from {} to {} the entropy of a draw falls "
        "from {} to {} bits, as the report describes it, where a temperature would raise it. It "
        "multiplies the logits; Plait calls it β."
        if falls
        else "The report’s temperature works as one: from {} to {} the entropy of a draw goes "
        "from {} to {} bits."
    )
    return answer(
        verdict_of(not falls), said, f"{low:g}", f"{high:g}",
        Number(entropy[low], ".2f", [source]), Number(entropy[high], ".2f", [source]),
    )  # fmt: skip


def uniform_answer(entropy: float, symbols: int, source: str) -> Answer:
    """Say whether a draw at the report's temperature 0 is uniform, from its entropy."""
    uniform = math.isclose(entropy, math.log2(symbols), rel_tol=1e-6)
    return answer(
        verdict_of(uniform),
        "At 0 a draw is {}: its entropy is {} bits, that of {} equally likely symbols {}.",
        "uniform" if uniform else "not uniform", Number(entropy, ".2f", [source]), symbols,
        Number(math.log2(symbols), ".2f", [source]),
    )  # fmt: skip


def repetition_answers(repeated: Repetition, source: str) -> list[Answer]:
    """Say whether greedy text repeats itself, and whether text at β = 2 does not."""
    usual = statistics.fmean(repeated.heldout)
    told = []
    for beta, claim in ((math.inf, "repeats"), (2.0, "does not")):
        shares = repeated.written[beta]
        less = below([share - usual for share in shares])
        more = None if less is None else not less
        said = {
            True: "{} text repeats itself: {} of its pieces, held-out text {}.",
            False: "{} text repeats itself less than held-out text: {} of its pieces against {}.",
            None: "{} text repeats {} of its pieces, held-out text {}: no difference is settled.",
        }[more]
        holds = more if claim == "repeats" else less
        name = "Greedy" if math.isinf(beta) else f"At β = {beta:g}, drawn"
        number = mean_of(shares, ".1%", [source])
        told.append(answer(verdict_of(holds), said, name, number, Number(usual, ".1%", [source])))
    return told


def spelling_answer(spelled: Mapping[float, Sequence[float]], source: str) -> Answer:
    """Say whether words are rather known ones at β = 2 than at 1, from the shares text by text."""
    bold, plain = spelled[2.0], spelled[1.0]
    holds = below([a - b for a, b in zip(plain, bold, strict=True)])
    said = {
        True: "At β = 2 words are spelled better than at 1: {} of them are in the training text, "
        "against {}.",
        False: "At β = 2 words are spelled worse than at 1: {} of them are in the training text, "
        "against {}.",
        None: "That words are spelled better at β = 2 than at 1 is not settled: {} of them are in "
        "the training text, and {}.",
    }[holds]
    numbers = (mean_of(shares, ".1%", [source]) for shares in (bold, plain))
    return answer(verdict_of(holds), said, *numbers)


def _accuracy_answer(reached: Number, own: bool) -> Answer:
    text = "Training accuracy comes to {}; the report’s to {}"
    published = Markup('<span class="published">{:.3f}</span>').format(PUBLISHED[-1])
    return answer("measured", text + ("." if own else ", of another text."), reached, published)


def ngram_answer(network: Number, ngram: Number) -> Answer:
    """Say who predicts held-out text better."""
    wins = (network.value or 0) < (ngram.value or 0)
    text = "Bits per character on the test part, which the report leaves out: network {}, n-gram "
    text += "{}; the network predicts it better." if wins else "{}; counting predicts it better."
    return answer("measured", text, network, ngram)


def _written(model: TextModel, beta: float, size: Mapping[str, Any], seed: int) -> list[str]:
    """Write texts; greedy ones begin with another character each."""
    length, texts = size["length"], size["texts"]
    if math.isinf(beta):
        symbols = len(model.vocabulary)
        prompts = [model.vocabulary.decode([k * symbols // texts]) for k in range(texts)]
        return [model.generate(p, length, greedy=True) for p in prompts]
    return model.generate("", length, beta=beta, count=texts, seed=seed)


@torch.no_grad()
def _entropy(model: TextModel, numbers: Tensor, beta: float) -> float:
    """Mean entropy, in bits, of what is drawn from after each of these characters."""
    if math.isinf(beta):
        return 0.0
    logits, _ = model(numbers[:, None])
    log_p = (beta * logits.double()).log_softmax(-1)
    return float(-(log_p.exp() * log_p).sum(-1).mean()) / math.log(2)


def _first_repeat(text: str) -> int:
    """Give the place where a piece comes for the second time, or the text's length."""
    seen: set[str] = set()
    for k in range(len(text) - SPAN + 1):
        if text[k : k + SPAN] in seen:
            return k
        seen.add(text[k : k + SPAN])
    return len(text)


def _name(beta: float) -> str:
    return "∞, greedy" if math.isinf(beta) else f"{beta:.3g}"


def _draw_curves(figure: Figure, runs: Made, own: bool) -> None:
    left, right = figure.subplots(1, 2)
    for seed, result in enumerate(runs.results):
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
    test = test_of(runs.results[0])
    for axes, score in ((left, "ngram_accuracy"), (right, "ngram_bits_per_character")):
        label = f"{test['ngram_order']}-gram, test part"
        axes.axhline(test[score], color=COLOURS[5], linestyle="--", label=label)
        tested = runs.values(f"test_{score.removeprefix('ngram_')}")
        ends = [r.row["best_step"] for r in runs.results]
        axes.plot(ends, tested, "s", color=COLOURS[5], markersize=5, label="test part")
    if own:
        steps = config_of(runs.results[0]).steps
        places, label = [steps * k / 3 for k in (1, 2, 3)], "the report, by thirds of 3,000 steps"
        left.plot(places, PUBLISHED, "D", color="0.3", markersize=4, label=label)
    left.set_ylabel("accuracy, share right")
    right.set_ylabel("bits per character")
    right.set_ylim(top=min(5.0, right.get_ylim()[1]))
    left.legend(loc="lower right")
    right.legend()


def _draw_drawing(
    figure: Figure, repeated: Repetition, spelled: Mapping[float, Sequence[float]]
) -> None:
    axes = figure.subplots()
    places = np.arange(len(repeated.written))
    for shares, mark, colour, label in (
        (spelled, "o-", COLOURS[2], "known words"),
        (repeated.written, "s-", COLOURS[1], "repeated pieces"),
    ):
        mean = np.array([statistics.fmean(s) for s in shares.values()])
        spread = np.array([statistics.stdev(s) for s in shares.values()])
        axes.plot(places, mean, mark, color=colour, label=label)
        axes.fill_between(places, mean - spread, mean + spread, color=colour, alpha=0.2, lw=0)
    axes.axhline(statistics.fmean(repeated.heldout), color="0.3", linestyle="--",
                 label="repeated, held-out text")  # fmt: skip
    axes.set_xticks(places, [_name(beta) for beta in repeated.written])
    axes.set_xlabel("β, the report’s temperature")
    axes.set_ylabel("share")
    axes.set_ylim(-0.03, 1.03)
    figure.legend(loc="outside lower center", ncols=3)
