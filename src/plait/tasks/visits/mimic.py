"""The event table of MIMIC-III, from its own files."""

from pathlib import Path
from typing import Any

import pandas as pd

from plait.errors import InputError
from plait.tables import filled_rows, read_table, refuse
from plait.tasks.visits.events import by_one_clock, into_periods, named_small, read_times

CODED = {"diagnosis": "DIAGNOSES_ICD", "procedure": "PROCEDURES_ICD"}

TIMES = {"admittime": True, "dischtime": True, "startdate": False, "enddate": False, "dob": True}
"""Columns of times, and whether they must be filled."""


def is_mimic(folder: Path) -> bool:
    """Say whether a folder has MIMIC's admissions."""
    return _found(folder, "ADMISSIONS") is not None


def read_mimic(folder: Path, hours: float = 24.0) -> pd.DataFrame:
    """Read the events of MIMIC-III (Johnson et al. 2016), from the files as they are published.

    ADMISSIONS, PRESCRIPTIONS, DIAGNOSES_ICD, PROCEDURES_ICD and, for the births, PATIENTS: `.csv`
    or `.csv.gz`, names of files and columns in large letters or small.

    A drug (of `drug_type` MAIN, by its name in small letters) lasts from its start to its end,
    but not beyond the discharge; what it is dissolved in is left out, and so are drugs without a
    start. Diagnoses and procedures are written down at the discharge, so that is when they are
    known: they stand in the admission's last period, and the model hears them in the next one.

    Parameters
    ----------
    folder : path
    hours : float
        Length of a period; 0: an admission.

    Returns
    -------
    DataFrame
        As `read_events` gives.

    Raises
    ------
    InputError
        For a file or column that is missing, and for an event before a patient's birth.
    """
    stays = _table(folder, "ADMISSIONS", "hadm_id", "admittime", "dischtime", once="hadm_id")
    stays = stays.sort_values("admittime")
    stays["visit"] = stays.groupby("subject_id").cumcount()
    stays = stays.set_index("hadm_id")[["visit", "dischtime"]]
    drugs = _table(folder, "PRESCRIPTIONS", "hadm_id", "startdate", "enddate", "drug_type", "drug")
    drugs = drugs[drugs["drug_type"] == "MAIN"].join(stays, on="hadm_id", how="inner")
    end = drugs["enddate"].clip(upper=drugs["dischtime"])
    code = drugs["drug"].str.lower()
    tables = [drugs.assign(kind="drug", code=code, time=drugs["startdate"], end=end)]
    for kind, name in CODED.items():
        coded = _table(folder, name, "hadm_id", "icd9_code").join(stays, on="hadm_id", how="inner")
        known = {"time": coded["dischtime"], "end": pd.NaT}
        tables.append(coded.assign(kind=kind, code=coded["icd9_code"], **known))
    columns = ["subject_id", "visit", "time", "end", "kind", "code"]
    events: Any = pd.concat([table[columns] for table in tables], ignore_index=True)
    events = events.rename(columns={"subject_id": "patient"})
    events = events[events["time"].notna() & (events["code"] != "")]
    _refuse_unborn(folder, events)
    return into_periods(folder, events, hours)


def _refuse_unborn(folder: Path, events: Any) -> None:
    if _found(folder, "PATIENTS") is None:
        return
    people = _table(folder, "PATIENTS", "dob", once="subject_id").set_index("subject_id")
    born = events["patient"].map(people["dob"])
    early = events[events["time"] < born]
    if len(early):
        first = early.iloc[0]
        raise InputError(
            f"{folder}: patient {first['patient']} has {first['code']!r} on {first['time']}, "
            "before birth"
        )


def _table(folder: Path, name: str, *columns: str, once: str = "") -> Any:
    """Read one of the files; columns of times as times, no value of column `once` twice."""
    path = _found(folder, name)
    if path is None:
        raise InputError(f"{folder} has no {name}.csv or {name}.csv.gz")
    table = filled_rows(path, named_small(path, read_table(path)), "subject_id", *columns)
    if once:
        say = "stands twice, and must stand once"
        refuse(path, table, table[once].duplicated(), lambda row: f"{once} {row[once]} {say}")
    times = [column for column in columns if column in TIMES]
    table = table.assign(**by_one_clock(path, table, times))
    for column in times:
        table[column] = read_times(path, table, column, needed=TIMES[column])
    return table


def _found(folder: Path, name: str) -> Path | None:
    names = [n + end for n in (name, name.lower()) for end in (".csv", ".csv.gz")]
    return next((folder / n for n in names if (folder / n).is_file()), None)
