"""Everything measured against its peer, growth, and the machine's limits, in one run.

    python benchmarks/bench.py                 every row and table, about ten minutes
    python benchmarks/bench.py --only gru      rows whose name holds this; nothing is written
    python benchmarks/bench.py --threads 1

Both sides of a row run in turn in one process; the figure is the median of the ratios of each turn,
with its quartiles. Memory is the highest resident size of two steps above that before them, each
side in a process of its own. Writes benchmarks/RESULTS.md and results.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import compiling
import forecast
import graph
import growth
import limits
import measure
import own_cells
import recurrence
import torch

ROWS = [*recurrence.ROWS, *own_cells.ROWS, *graph.ROWS, *forecast.ROWS]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=6.0, help="for each row, at most")
    parser.add_argument("--only", default="")
    parser.add_argument("--memory", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        print(memory(*options.memory))
        return
    facts = measure.facts(limits.limits())
    peak = facts["limit, GFLOP/s"]
    print(measure.shown(facts), measure.HEADER, sep="\n", flush=True)
    records = []
    for row in measure.chosen(ROWS, options.only):
        records.append(measure.measure(row, options.seconds))
        print(measure.line(records[-1], peak), flush=True)
    compiled = compiling.table(options.only)
    if compiled:
        print(compiling.written(compiled), flush=True)
    if options.only:
        return
    tables = growth.tables(facts["copy, GB/s"], peak)
    for table in tables:
        print(growth.written(table), flush=True)
    folder = Path(__file__).parent
    text = json.dumps(
        {"facts": facts, "rows": records, "compiling": compiled, "growth": tables}, indent=1
    )
    Path(folder, "results.json").write_text(text + "\n")
    Path(folder, "RESULTS.md").write_text(report(facts, records, compiled, tables))


def memory(name: str, side: str) -> float:
    """Measure the memory of a row's side, or of a point of a growth table."""
    torch.manual_seed(0)
    if name in growth.SERIES:
        return measure.memory(lambda: growth.step(name, int(side)))
    (row,) = (row for row in ROWS if row.name == name)
    return measure.memory(lambda: row.make()[int(side)])


def report(
    facts: dict[str, Any], records: list[dict[str, Any]], compiled: list[dict[str, Any]],
    tables: list[dict[str, Any]],
) -> str:  # fmt: skip
    """Write it all as Markdown."""
    r = recurrence
    return "\n".join(
        [
            "# Speed", "",
            "Written by `make bench`. " + measure.shown(facts) + ".", "",
            f"T = {r.T}, batch {r.B}, {r.LAYERS} layers of {r.H} channels; graphs of {r.NODES} "
            f"nodes with {r.NEIGHBOURS} neighbours, T = {r.GRAPH_T}, {r.GRAPH_H} channels; large "
            "graphs of 100,000 nodes. The ratio is the median of turns taken in one process, with "
            "quartiles. \"Products alone\" are the matrix products of a step, counted, at the "
            "machine's limit, the largest of several products and of multiply-adds that stay in "
            "registers: nobody is faster than that, and a peer's time over it bounds what the "
            "ratio could be.", "",
            measure.HEADER,
            *(measure.line(record, facts["limit, GFLOP/s"]) for record in records), "",
            "## Compiling", "", compiling.__doc__.split("\n\n", 1)[1].strip(), "",
            compiling.written(compiled), "",
            "## Growth", "", growth.__doc__.split("\n\n", 1)[1].strip(), "",
            *(growth.written(table) + "\n" for table in tables),
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
