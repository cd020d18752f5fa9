"""Section 3: figures 1 and 2, the Baum–Sweet strings, LSTM and GRU."""

from collections.abc import Mapping, Sequence
from typing import Any

from plait.comparison.figure import draw_grid
from plait.study.claims import Answer, answer, below, verdict_of
from plait.study.page import Block, Number, Picture, Table, Words, difference_of
from plait.study.runs import Made, Wanted, config_of, source_of
from plait.tasks import published_steps
from plait.tasks.memory.config import lengths_of

TITLE = "Baum–Sweet strings: LSTM and GRU"
SAYS = """Both cells learn whether all runs of zeros in a number are even. The LSTM converges very
fast, so its steps were cut from 3,000 to 1,000; the GRU converges a little earlier, with fewer
parameters."""

CELLS = {"lstm-course": "LSTM", "gru-course": "GRU"}
"""The report's cells, as its course has them."""

LEARNT = 0.9
"""Share of the answers that looking can bring, beyond always the likelier one, that is the rule."""


def wanted(size: Mapping[str, Any]) -> dict[str, Wanted]:
    """Both cells at every length, all seeds."""
    return {
        "grid": Wanted(
            "memory",
            {"until_converged": True, **size["options"]},
            {"cell": tuple(CELLS), "length": size["lengths"]},
            size["seeds"],
            recipe="report",
            reach=0.99,
        )
    }


def tell(
    made: Mapping[str, Made], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Answer]]:
    """Tell when each cell has learnt, beside the published steps, and what longer strings show."""
    grid, lengths = made["grid"], size["lengths"]
    published = [
        (plan.values, published_steps("memory", plan.config))
        for plan in grid.grid.plans
        if plan.seed == grid.grid.seeds[0]
    ]
    sources = list(dict.fromkeys(source for _, steps in published for source in steps))
    rows: list[list[Any]] = []
    for cell, name in CELLS.items():
        for length in lengths:
            at = {"cell": cell, "length": length}
            steps = next(s for v, s in published if v == at)
            rows.append(
                [f"{name}, length {length}", grid.number("reached_step", ".0f", **at),
                 *(steps.get(source) for source in sources),
                 grid.number("test_accuracy", ".1%", **at), _prior(grid, at, "test_prior")]
            )  # fmt: skip
    first = config_of(grid.results[0])
    blocks: list[Block] = [
        Words(
            f"Networks {first.hidden_size} wide, batches of {first.batch_size}, learning rate "
            f"{first.lr:g}, {len(size['seeds'])} seeds each, the cells of the report’s course. A "
            "run ends where ten fresh batches in a row have no error. The published networks are "
            "256 wide, their batches 256, their learning rate 0.0001."
        ),
        Table(
            "3-steps",
            "Steps until the mean of ten batches’ accuracy is 0.99, and the accuracy on fresh "
            "strings of the same length. Without looking: always the likelier answer.",
            ["cell", "steps here", *sources, "right, fresh strings", "without looking"],
            rows,
            published=range(2, 2 + len(sources)),
        ),
        Picture(
            "3-curves",
            "Above, accuracy on fresh strings after training. Below, along it, as in figures 1 and "
            "2 of the report: on validation strings and, thin, on those of the batches. The dashed "
            "line is what can be had without looking; the marks are published steps.",
            lambda path: draw_grid(grid.grid, grid.results, grid.measure, published, path),
        ),
        _longer(grid, lengths),
        Table(
            "3-differences",
            "GRU minus LSTM in steps, run by run of the same seed, with its 95 % interval.",
            ["length", "difference", "pairs"],
            [_difference_row(grid, length) for length in [*lengths, None]],
        ),
    ]
    return blocks, _answers(grid, lengths)


def earlier(differences: Sequence[float], steps: Sequence[Any]) -> Answer:
    """Say whether the GRU converges before the LSTM, from differences of their steps."""
    holds = below(differences)
    said = {
        True: "The GRU converges earlier: {gru} steps against {lstm}; GRU − LSTM {d}.",
        False: "The LSTM converges earlier: {lstm} steps against the GRU’s {gru}; GRU − LSTM {d}.",
        None: "Which converges earlier is not settled: GRU {gru} steps, LSTM {lstm}; GRU − LSTM "
        "{d}.",
    }[holds]
    difference = difference_of(differences, "+.0f", ["#3-differences"])
    return answer(verdict_of(holds), said, lstm=steps[0], gru=steps[1], d=difference)


def _answers(grid: Made, lengths: Sequence[int]) -> list[Answer]:
    one = [grid.of(cell=cell)[0] for cell in CELLS]
    parameters = [r.row["parameters"] for r in one]
    counts = [Number(n, ",d", [source_of(r)]) for n, r in zip(parameters, one, strict=True)]
    done = sum(r.converged for r in grid.results)
    told = [
        earlier(
            _differences(grid, lengths),
            [_over_lengths(grid, c) for c in CELLS],
        ),
        answer(
            verdict_of(parameters[1] < parameters[0]),
            "The GRU has {} parameters, the LSTM {}.", counts[1], counts[0],
        ),
        answer(
            verdict_of(done == len(grid.results)),
            "{} of {} runs end without an error in ten batches.",
            Number(done, "d", ["#3-steps"]), len(grid.results),
        ),
    ]  # fmt: skip
    longest = max(lengths_of(config_of(grid.results[0]).eval_lengths), default=0)
    if longest:
        best = grid.chosen(length=max(lengths))
        own, prior = best.row[f"test_accuracy_at_{longest}"], best.row[f"test_prior_at_{longest}"]
        learnt = (own - prior) / (1 - prior)  # of what looking can bring
        told.append(
            answer(
                "measured",
                "Strings longer than any seen, length {}: of those trained on length {} the one "
                "that validation chooses is right in {}, without looking {}"
                + ("; it has learnt the rule." if learnt > LEARNT else
                   "; it has learnt some of the rule." if learnt > 0 else
                   "; what it has learnt is no rule for them."),
                longest, max(lengths), Number(own, ".2%", [source_of(best)]),
                Number(prior, ".2%", [source_of(best)]),
            )
        )  # fmt: skip
    return told


def _over_lengths(grid: Made, cell: str) -> Number:
    """Give the mean steps of a cell over all lengths and seeds."""
    return Number(grid.number("reached_step", cell=cell).value, ".0f", ["#3-steps"])


def _differences(grid: Made, lengths: Sequence[int]) -> list[float]:
    lstm, gru = CELLS
    return [
        d for length in lengths
        for d in grid.differences("reached_step", {"cell": gru}, {"cell": lstm}, length=length)
    ]  # fmt: skip


def _difference_row(grid: Made, length: int | None) -> list[Any]:
    lengths = grid.wanted.vary["length"]
    lengths = lengths if length is None else [length]
    found = _differences(grid, lengths)
    sources = [source_of(r) for length in lengths for r in grid.of(length=length)]
    difference = difference_of(found, "+.0f", sources)
    return ["all" if length is None else str(length), difference, len(found)]


def _prior(grid: Made, at: Mapping[str, Any], name: str) -> Number:
    """Give what is known beforehand, the same in every run."""
    return Number(grid.of(**at)[0].row[name], ".1%", [source_of(grid.of(**at)[0])])


def _longer(grid: Made, lengths: Sequence[int]) -> Table:
    tried = lengths_of(config_of(grid.results[0]).eval_lengths)
    rows: list[list[Any]] = []
    for cell, name in CELLS.items():
        for length in lengths:
            at = {"cell": cell, "length": length}
            scores = [grid.number(f"test_accuracy_at_{other}", ".1%", **at) for other in tried]
            rows.append([f"{name}, trained on length {length}", *scores])
    at = {"cell": next(iter(CELLS)), "length": lengths[0]}
    rows.append(["without looking", *(_prior(grid, at, f"test_prior_at_{o}") for o in tried)])
    return Table(
        "3-longer",
        "Right answers on strings longer than those trained on.",
        ["network", *(f"length {other}" for other in tried)],
        rows,
    )
