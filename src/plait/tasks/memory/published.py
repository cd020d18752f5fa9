"""What others measured, to compare with."""

from collections.abc import Mapping

from plait.tasks.memory.config import MemoryConfig

BAUM_SWEET = {
    "the report, accuracy ≈ 0.99 (±60)": {
        "lstm": {4: 500, 5: 540, 6: 480},
        "gru": {4: 360, 5: 270, 6: 270},
    },
    "another solution (embedding 64), first logged 1.00": {
        "lstm": {4: 440, 5: 560, 6: 600},
        "gru": {4: 440, 5: 400, 6: 420},
    },
    "another (embedding 10), 10-step mean ≥ 0.99": {
        "lstm": {4: 647, 5: 761, 6: 741},
        "gru": {4: 539, 5: 568, 6: 590},
    },
}
"""Steps by source and measure, kind of cell, and length; all with a learning rate of 1e-4."""

RANDOM_COMBINATIONS = {
    "another solution, three perfect batches": {
        "lstm": {5: 25, 10: 125, 15: 545},
        "bidirectional lstm": {5: 18, 10: 81, 15: 298},
    }
}


def published_steps(config: MemoryConfig) -> Mapping[str, int]:
    """Return the published steps for this problem, length and kind of cell, by source.

    >>> from plait.tasks.memory.config import MemoryConfig
    >>> from plait.tasks.memory.published import published_steps
    >>> list(published_steps(MemoryConfig(cell="gru-course", length=5)).values())
    [270, 400, 568]
    """
    tables = {"baum-sweet": BAUM_SWEET, "random-combinations": RANDOM_COMBINATIONS}
    kind = config.cell.split("-")[0]
    if config.bidirectional:
        kind = f"bidirectional {kind}"
    steps = {
        s: t.get(kind, {}).get(config.length) for s, t in tables.get(config.problem, {}).items()
    }
    return {source: step for source, step in steps.items() if step is not None}
