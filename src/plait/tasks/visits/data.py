"""Where a run's histories come from: generated, MIMIC-III, or a table of events."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from plait.data import find_data
from plait.errors import InputError
from plait.tasks.splits import Splits
from plait.tasks.visits.config import GENERATED, VisitsConfig
from plait.tasks.visits.events import join_events
from plait.tasks.visits.generated import Hospital
from plait.tasks.visits.histories import (
    Codes,
    Histories,
    Interactions,
    join_interactions,
    related_codes,
)
from plait.tasks.visits.mimic import is_mimic, join_mimic
from plait.tasks.visits.splits import split_patients


class Source(NamedTuple):
    """Histories, which patients are for what, and the facts of a model of them."""

    histories: Histories
    splits: Splits[list[int]]
    facts: Mapping[str, Any]
    """`codes`, `related`, `interactions` (pairs of numbers), `sha256`."""


def source_of(config: VisitsConfig) -> Source:
    """Read the histories of a configuration, split them, and find which codes are related.

    What is related is found in the training set alone.
    """
    histories = read_histories(config.data, config)
    splits = split_patients(histories, config.split_seed)
    interactions = _interactions(config, histories.codes)
    if interactions.note:
        histories = replace(histories, notes=(*histories.notes, interactions.note))
    facts = {
        "codes": [list(code) for code in histories.codes],
        "related": related_codes(histories, splits.train, config.related),
        "interactions": interactions.pairs,
        "sha256": histories.sha256,
    }
    return Source(histories, splits, facts)


def read_histories(data: str, config: VisitsConfig, codes: Codes | None = None) -> Histories:
    """Read histories by path or name; `codes` are those that a model knows."""
    if data == GENERATED:
        return Histories.of(Hospital().patients(config.patients), f"{GENERATED} patients", codes)
    if not data:
        raise InputError(f"--data is empty; give a table of events, a folder, or {GENERATED}")
    path = Path(data)
    if not path.exists():
        found = find_data(f"visits/{data}/ADMISSIONS.csv.gz")
        if found is None:
            raise InputError(
                f"{data}: no such file or folder; give a table of events, a folder with MIMIC-III's"
                f" files, or {GENERATED}"
            )
        path = found.parent
    if path.is_dir():
        if not is_mimic(path):
            raise InputError(f"{path} has no ADMISSIONS.csv: give MIMIC-III's folder, or a table")
        events, notes = join_mimic(path, config.period_hours, config.encoding)
    else:
        events, notes = join_events(path, config.period_hours, config.encoding)
    return replace(Histories.of(events, str(path), codes), notes=notes)


def _interactions(config: VisitsConfig, codes: Codes) -> Interactions:
    if config.interactions:
        return join_interactions(Path(config.interactions), codes, config.encoding)
    if config.data != GENERATED:
        return Interactions([], "")
    number = {code: k for k, (kind, code) in enumerate(codes) if kind == "drug"}
    pairs = Hospital().interactions
    known = (sorted((number[a], number[b])) for a, b in pairs if {a, b} <= number.keys())
    return Interactions(sorted(known), "")
