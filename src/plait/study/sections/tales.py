"""Section 5: listing 6, the fairy tales."""

from collections.abc import Mapping, Sequence
from typing import Any

from plait.study.claims import Answer, answer, below
from plait.study.corpora import table_1
from plait.study.page import Block, Number, Table, mean_of
from plait.study.prose import accuracy_table, known_share, licence_share, listing, words_of
from plait.study.runs import Made, Wanted, config_of, model_of, run_of, source_of
from plait.tasks.text.inference import splits_of

TITLE = "Sleeping beauty is"
SAYS = """Trained on Grimms’ fairy tales and drawn at its temperature 3, the network goes on from
“Sleeping beauty is” in sentences that are correct and make little sense."""

PUBLISHED = (0.52, 0.58, 0.59, 0.60, 0.59, 0.61)
"""Training accuracy at each sixth of the report's 3,000 steps, one batch each."""

PROMPT, BETA, LENGTH = "Sleeping beauty is", 3.0, 100


def wanted(size: Mapping[str, Any]) -> dict[str, Wanted]:
    """The network of table 1 on the tales."""
    return {"runs": table_1("grimm", size)}


def tell(
    made: Mapping[str, Made], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Answer]]:
    """Tell how well it learns and how it goes on, and count the words that it knows."""
    runs = made["runs"]
    first = runs.results[0]
    model, config, facts = model_of(first), config_of(first), run_of(first).facts
    source, own = source_of(first), config.data == "grimm"
    training, validation, testing = splits_of(model, config, facts)
    licence = licence_share(model.vocabulary.decode(testing.tolist()))
    known = set(words_of(model.vocabulary.decode(training.tolist())))
    texts = model.generate(PROMPT, size["length"], beta=BETA, count=size["texts"],
                           seed=config.seed, skip_unknown=True)  # fmt: skip
    written = [known_share(text.removeprefix(PROMPT), known) for text in texts]
    usual = known_share(model.vocabulary.decode(validation.tolist()), known)
    blocks: list[Block] = [
        accuracy_table(
            "5-accuracy", runs, [f"{p:.2f}" for p in PUBLISHED],
            "the report’s are single batches at each sixth", own,
        ),
        listing(
            f"Listing 6: {LENGTH} characters, β = {BETA:g}", first, [PROMPT], LENGTH, beta=BETA
        ),
        Table(
            "5-words",
            f"Words that the training text has, of those in {size['texts']} texts written at β = "
            f"{BETA:g} (± is over the texts) and in the validation part.",
            ["text", "known words"],
            [["written", mean_of(written, ".1%", [source])],
             ["validation part", Number(usual, ".1%", [source])]],
        ),
    ]  # fmt: skip
    bits = runs.number("test_bits_per_character")
    answers = [
        words_answer(written, usual, source),
        answer(
            "measured",
            "The test part{} costs it {} bits per character, an n-gram {}.",
            f", {licence:.0%} of it the file’s licence," if licence else "",
            bits, runs.number("test_ngram_bits_per_character"),
        ),
    ]  # fmt: skip
    return blocks, answers


def words_answer(written: Sequence[float], usual: float, source: str) -> Answer:
    """Say whether what it writes are words; that is not yet the report's correct sentences."""
    less = below([share - usual for share in written])
    said = {
        True: "Its words are not all words: {} of them are in the training text, of the "
        "validation part’s {}.",
        False: "Its words are words: {} of them are in the training text, of the validation part’s "
        "{}.",
        None: "Its words are as often words of the training text as the validation part’s: {} and "
        "{}.",
    }[less]
    said += " Whether the sentences are correct, and make sense, no number here says: read them."
    return answer("measured", said, mean_of(written, ".1%", [source]),
                  Number(usual, ".1%", [source]))  # fmt: skip
