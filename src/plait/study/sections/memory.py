"""Section 3: figures 1 and 2, the Baum–Sweet strings, LSTM and GRU."""

from collections.abc import Mapping, Sequence
from typing import Any

from plait.comparison.figure import draw_grid
from plait.study.page import Block, Number, Paragraph, Picture, Table, difference_of
from plait.study.runs import FinishedRuns, RunRequest, config_of, source_of
from plait.study.verdicts import Finding, below_zero, finding, verdict_of
from plait.tasks import published_steps
from plait.tasks.memory.config import lengths_of

TITLE = "Baum–Sweet strings: LSTM and GRU"
REPORT_CLAIM = """Both cells learn whether every run of zeros in a binary number has even length.
The LSTM converges very fast, so its training was cut from 3,000 to 1,000 steps; the GRU converges a
little faster, with fewer parameters."""

CELLS = {"lstm-course": "LSTM", "gru-course": "GRU"}
"""The report's cells, in its course's variants."""

LEARNT = 0.9
"""A network has learnt the rule if it closes this share of the gap from baseline to perfect."""


def required_runs(size: Mapping[str, Any]) -> dict[str, RunRequest]:
    """Request both cells at every length, all seeds."""
    return {
        "grid": RunRequest(
            "memory",
            {"until_converged": True, **size["options"]},
            {"cell": tuple(CELLS), "length": size["lengths"]},
            size["seeds"],
            recipe="report",
            reach=0.99,
        )
    }


def render(
    runs: Mapping[str, FinishedRuns], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Finding]]:
    """Show when each cell converges, the published steps, and accuracy on longer strings."""
    grid, lengths = runs["grid"], size["lengths"]
    return blocks(grid, lengths), findings(grid, lengths)


def blocks(grid: FinishedRuns, lengths: Sequence[int]) -> Sequence[Block]:
    """Return the tables and the picture of figures 1 and 2."""
    first = config_of(grid.results[0])
    seeds = grid.request.seeds
    published = _published(grid)
    shown = ", ".join(map(str, lengths))
    return [
        Paragraph(
            f"Hidden size {first.hidden_size}, batch size {first.batch_size}, learning rate "
            f"{first.lr:g}, {len(seeds)} seeds per cell and length, the cells of the report’s "
            "course. A run stops when ten fresh batches in a row have no error. The published "
            "networks have hidden size 256, batch size 256 and learning rate 0.0001."
        ),
        _steps_table(grid, lengths, published),
        Picture(
            "3-curves",
            "Figures 1 and 2: LSTM and GRU trained with the default parameters on the Baum–Sweet "
            f"problem (BSS). From left to right: input length {shown}. The transparent area is the "
            "standard deviation between seeds. Thick lines: validation accuracy; thin lines: "
            "accuracy of the training batches, as in the report. Above: accuracy on fresh strings "
            "after training. Dashed: the baseline that always gives the likelier answer. Marks "
            "along the lower edge: published steps.",
            lambda path: draw_grid(
                grid.grid, grid.results, grid.measure, published, path,
                wording={f"cell {cell}": name for cell, name in CELLS.items()}
                | {f"length {n}": f"input length {n}" for n in lengths},
            ),
        ),
        _longer(grid, lengths),
        Table(
            "3-differences",
            "Steps of the GRU minus steps of the LSTM, paired by seed, with the 95 % interval.",
            ["length", "difference", "pairs"],
            [_difference_row(grid, length) for length in [*lengths, None]],
        ),
    ]  # fmt: skip


def findings(grid: FinishedRuns, lengths: Sequence[int]) -> Sequence[Finding]:
    """Return which cell converges earlier, which is smaller, and whether all runs converge."""
    lstm, gru = (grid.select(cell=cell)[0] for cell in CELLS)
    done = sum(r.converged for r in grid.results)
    found = [
        earlier(_differences(grid, lengths), [_over_lengths(grid, c) for c in CELLS]),
        finding(
            verdict_of(gru.row["parameters"] < lstm.row["parameters"]),
            "The GRU has {} parameters, the LSTM {}.",
            *(Number(r.row["parameters"], ",d", [source_of(r)]) for r in (gru, lstm)),
        ),
        finding(
            verdict_of(done == len(grid.results)),
            "{} of {} runs end without an error in ten batches.",
            Number(done, "d", ["#3-steps"]), len(grid.results),
        ),
    ]  # fmt: skip
    longest = max(lengths_of(config_of(grid.results[0]).eval_lengths), default=0)
    if longest:
        found.append(_longest_finding(grid, max(lengths), longest))
    return found


def earlier(differences: Sequence[float], steps: Sequence[Any]) -> Finding:
    """Return whether the GRU converges before the LSTM, from differences of their steps."""
    holds = below_zero(differences)
    text = {
        True: "The GRU converges earlier: after {gru} steps, the LSTM after {lstm}; GRU − LSTM "
        "{d}.",
        False: "The LSTM converges earlier: after {lstm} steps, the GRU after {gru}; GRU − LSTM "
        "{d}.",
        None: "Which cell converges earlier is inconclusive: GRU after {gru} steps, LSTM after "
        "{lstm}; GRU − LSTM {d}.",
    }[holds]
    difference = difference_of(differences, "+.0f", ["#3-differences"])
    return finding(verdict_of(holds), text, lstm=steps[0], gru=steps[1], d=difference)


def _longest_finding(grid: FinishedRuns, trained: int, longest: int) -> Finding:
    """Return how the run chosen on validation does on the longest strings tried."""
    best = grid.best_on_validation(length=trained)
    accuracy = best.row[f"test_accuracy_at_{longest}"]
    baseline = best.row[f"test_prior_at_{longest}"]
    learnt = (accuracy - baseline) / (1 - baseline)
    conclusion = (
        "it has learnt the rule." if learnt > LEARNT else
        "it has partly learnt the rule." if learnt > 0 else
        "it has not learnt the rule."
    )  # fmt: skip
    return finding(
        "measured",
        "Strings of length {}, longer than any in training: of the networks trained on length {}, "
        "the one chosen on validation has accuracy {}, the baseline {}; " + conclusion,
        longest, trained, Number(accuracy, ".2%", [source_of(best)]),
        Number(baseline, ".2%", [source_of(best)]),
    )  # fmt: skip


def _published(grid: FinishedRuns) -> list[tuple[Mapping[str, Any], Mapping[str, int]]]:
    """Return the published steps for every cell and length, by source."""
    plans = [plan for plan in grid.grid.plans if plan.seed == grid.grid.seeds[0]]
    return [(plan.values, published_steps("memory", plan.config)) for plan in plans]


def _steps_table(grid: FinishedRuns, lengths: Sequence[int], published: Any) -> Table:
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
    return Table(
        "3-steps",
        "Steps until the mean accuracy of ten batches is 0.99, and accuracy on fresh strings of "
        "the same length. The baseline always gives the likelier answer.",
        ["cell", "steps here", *sources, "accuracy, fresh strings", "baseline"],
        rows,
        published=range(2, 2 + len(sources)),
    )


def _over_lengths(grid: FinishedRuns, cell: str) -> Number:
    """Return the mean steps of a cell over all lengths and seeds."""
    return Number(grid.number("reached_step", cell=cell).value, ".0f", ["#3-steps"])


def _differences(grid: FinishedRuns, lengths: Sequence[int]) -> list[float]:
    lstm, gru = CELLS
    return [
        d for length in lengths
        for d in grid.differences("reached_step", {"cell": gru}, {"cell": lstm}, length=length)
    ]  # fmt: skip


def _difference_row(grid: FinishedRuns, length: int | None) -> list[Any]:
    lengths = grid.request.vary["length"]
    lengths = lengths if length is None else [length]
    found = _differences(grid, lengths)
    sources = [source_of(r) for length in lengths for r in grid.select(length=length)]
    difference = difference_of(found, "+.0f", sources)
    return ["all" if length is None else str(length), difference, len(found)]


def _prior(grid: FinishedRuns, at: Mapping[str, Any], name: str) -> Number:
    """Return the baseline accuracy, the same in every run."""
    return Number(grid.select(**at)[0].row[name], ".1%", [source_of(grid.select(**at)[0])])


def _longer(grid: FinishedRuns, lengths: Sequence[int]) -> Table:
    tried = lengths_of(config_of(grid.results[0]).eval_lengths)
    rows: list[list[Any]] = []
    for cell, name in CELLS.items():
        for length in lengths:
            at = {"cell": cell, "length": length}
            scores = [grid.number(f"test_accuracy_at_{other}", ".1%", **at) for other in tried]
            rows.append([f"{name}, trained on length {length}", *scores])
    at = {"cell": next(iter(CELLS)), "length": lengths[0]}
    rows.append(["baseline", *(_prior(grid, at, f"test_prior_at_{o}") for o in tried)])
    return Table(
        "3-longer",
        "Accuracy on strings longer than those trained on.",
        ["network", *(f"length {other}" for other in tried)],
        rows,
    )
