"""Section 5: listing 6, the fairy tales."""

from collections.abc import Mapping, Sequence
from typing import Any

from plait.study.corpora import table_1
from plait.study.page import Block, Number, Paragraph, Table, mean_of
from plait.study.runs import FinishedRuns, RunRequest, config_of, model_of, run_of, source_of
from plait.study.text_blocks import accuracy_table, listing
from plait.study.text_measures import heldout_licence, known_share, words_of
from plait.study.verdicts import Finding, below_zero, finding
from plait.tasks.text.inference import splits_of

TITLE = "Fairy tales: “Sleeping beauty is …”"
REPORT_CLAIM = """Trained on Grimms’ fairy tales and sampled at its temperature 3, the network
continues “Sleeping beauty is” with sentences that are syntactically correct and make little
sense."""

PUBLISHED = (0.52, 0.58, 0.59, 0.60, 0.59, 0.61)
"""Training accuracy at each sixth of the report's 3,000 steps, one batch each."""

PROMPT, BETA, LENGTH = "Sleeping beauty is", 3.0, 100


def required_runs(size: Mapping[str, Any]) -> dict[str, RunRequest]:
    """Request the network of table 1 on the tales."""
    return {"runs": table_1("grimm", size)}


def measure_words(runs: FinishedRuns, size: Mapping[str, Any]) -> tuple[list[float], float]:
    """Return the share of known words in each generated text, and in the validation set."""
    shares: list[float] = []
    usual = 0.0
    for result in runs.results:
        model, config, facts = model_of(result), config_of(result), run_of(result).facts
        training, validation, _ = splits_of(model, config, facts)
        known = set(words_of(model.vocabulary.decode(training.tolist())))
        texts = model.generate(PROMPT, size["length"], beta=BETA, count=size["texts"],
                               seed=config.seed, skip_unknown=True)  # fmt: skip
        shares += [known_share(text.removeprefix(PROMPT), known) for text in texts]
        usual = known_share(model.vocabulary.decode(validation.tolist()), known)
    return shares, usual


def render(
    runs: Mapping[str, FinishedRuns], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Finding]]:
    """Show how well it learns and what it generates, and count the words that it knows."""
    trained = runs["runs"]
    first = trained.results[0]
    sources = [source_of(r) for r in trained.results]
    own = config_of(first).data == "grimm"
    licence = heldout_licence(first)
    shares, usual = measure_words(trained, size)
    blocks: list[Block] = [
        accuracy_table(
            "5-accuracy", trained, [f"{p:.2f}" for p in PUBLISHED],
            "the report’s are single batches at each sixth", own,
        ),
        Paragraph(
            "The same prompt after each sixth of the training, as in the report’s listing 6"
            + ("; the first seed’s network:" if len(sources) > 1 else ":")
        ),
        listing(
            f"Listing 6: {LENGTH} characters, the report’s temperature {BETA:g} (β = {BETA:g})",
            first, [PROMPT], LENGTH, len(PUBLISHED), beta=BETA,
        ),
        Table(
            "5-words",
            f"Share of words that occur in the training text: in {len(shares)} texts generated at "
            f"β = {BETA:g} (± over the texts), and in the validation set.",
            ["text", "known words"],
            [["generated", mean_of(shares, ".1%", sources)],
             ["validation set", Number(usual, ".1%", sources)]],
        ),
    ]  # fmt: skip
    return blocks, [
        words_finding(shares, usual, sources),
        finding(
            "measured",
            "On the test set{} the network needs {} bits per character, an n-gram {}.",
            f", {licence:.0%} of which is the file’s licence," if licence else "",
            trained.number("test_bits_per_character"),
            trained.number("test_ngram_bits_per_character"),
        ),
    ]  # fmt: skip


def words_finding(shares: Sequence[float], usual: float, sources: Sequence[str]) -> Finding:
    """Return whether generated words are real ones; sentences, the report's claim, are not."""
    text = {
        True: "Generated words occur in the training text less often than held-out words: {}, "
        "against {} in the validation set.",
        False: "Generated words occur in the training text more often than held-out words: {}, "
        "against {} in the validation set.",
        None: "Generated words occur in the training text as often as held-out words: {} and {}.",
    }[below_zero([share - usual for share in shares])]
    text += " No number here measures whether sentences are correct or make sense: read them."
    return finding("measured", text, mean_of(shares, ".1%", sources),
                   Number(usual, ".1%", sources))  # fmt: skip
