"""The event table of MIMIC-III, from its own files."""

from pathlib import Path
from typing import Any

import pandas as pd

from plait.errors import InputError
from plait.tables import filled_rows, read_table, refuse
from plait.tasks.visits.events import (
    Events,
    as_id,
    by_one_clock,
    into_periods,
    named_small,
    read_times,
)

CODED = {"diagnosis": "DIAGNOSES_ICD", "procedure": "PROCEDURES_ICD"}

TIMES = {"admittime": True, "dischtime": True, "startdate": False, "enddate": False, "dob": True}
"""Columns of times, and whether they must be filled."""

IDS = ("subject_id", "hadm_id")
"""Columns that hold whole numbers by which the files are joined."""

HARDLY_ANY = 0.01
"""A join of less than this share of both sides is refused."""


def is_mimic(folder: Path) -> bool:
    """Return whether a folder has MIMIC's admissions."""
    return _found(folder, "ADMISSIONS") is not None


def read_mimic(folder: Path, hours: float = 24.0) -> pd.DataFrame:
    """Read the events of MIMIC-III (Johnson et al. 2016), from the files as they are published.

    As `join_mimic`, without what it notes.
    """
    return join_mimic(folder, hours).events


def join_mimic(folder: Path, hours: float = 24.0, encoding: str = "utf-8") -> Events:
    """Read and join the files of MIMIC-III (Johnson et al. 2016), as they are published.

    ADMISSIONS, PRESCRIPTIONS, DIAGNOSES_ICD, PROCEDURES_ICD and, for the births, PATIENTS: `.csv`
    or `.csv.gz`, names of files and columns in upper or lower case. They are joined by
    `hadm_id` and `subject_id`, whole numbers: 10, 010 and 10.0 are the same.

    A drug (of `drug_type` MAIN, by its name in lower case) lasts from its start to its end,
    but not beyond the discharge; what it is dissolved in is left out, and so are drugs without a
    start. Diagnoses and procedures are written down at the discharge, so that is when they are
    known: they belong to the admission's last period, and the model receives them in the next one.

    Parameters
    ----------
    folder : path
    hours : float
        Length of a period; 0: an admission.
    encoding : str
        Of the files.

    Returns
    -------
    Events
        The notes count, file by file, the rows that are of no admission and those left out.

    Raises
    ------
    InputError
        For a file or column that is missing, for files of which hardly a row is of the same
        admissions or patients, for an admission that is of another patient elsewhere, and for an
        event before a patient's birth.
    """
    stays = _table(
        folder, encoding, "ADMISSIONS", "hadm_id", "admittime", "dischtime", once="hadm_id"
    )
    stays = stays.sort_values("admittime")
    stays["visit"] = stays.groupby("subject_id").cumcount()
    stays = stays.set_index("hadm_id").rename(columns={"subject_id": "admitted"})
    stays = stays[["admitted", "visit", "admittime", "dischtime"]]
    columns = ("hadm_id", "startdate", "enddate", "drug_type", "drug")
    drugs = _table(folder, encoding, "PRESCRIPTIONS", *columns)
    drugs = drugs[drugs["drug_type"].str.upper() == "MAIN"]
    if drugs.empty:
        path = _found(folder, "PRESCRIPTIONS")
        raise InputError(f"{path}: no row has the drug_type MAIN; give the file as published")
    drugs, notes = _join(folder, "PRESCRIPTIONS", drugs, stays)
    notes += _times_of_drugs(folder, drugs)
    end = drugs["enddate"].clip(upper=drugs["dischtime"])
    code = drugs["drug"].str.lower()
    tables = [drugs.assign(kind="drug", code=code, time=drugs["startdate"], end=end)]
    for kind, name in CODED.items():
        coded, lost = _join(
            folder, name, _table(folder, encoding, name, "hadm_id", "icd9_code"), stays
        )
        notes += lost + _counted(name, coded["icd9_code"] == "", "without a code")
        known = {
            "time": coded["dischtime"],
            "end": coded["dischtime"].mask(coded["dischtime"].notna()),
        }
        tables.append(coded.assign(kind=kind, code=coded["icd9_code"], **known))
    names = ["subject_id", "visit", "time", "end", "kind", "code"]
    events: Any = pd.concat([table[names] for table in tables], ignore_index=True)
    events = events.rename(columns={"subject_id": "patient"})
    events = events[events["time"].notna() & (events["code"] != "")]
    if events.empty:
        raise InputError(f"{folder}: none of its rows has both a code and a time; nothing is left")
    notes += _births(folder, encoding, events)
    return Events(into_periods(folder, events, hours), tuple(notes))


def _join(folder: Path, name: str, table: Any, stays: Any) -> tuple[Any, list[str]]:
    """Find each row's admission; count those that have none, refuse where hardly any has one."""
    path, admissions = _found(folder, name), _found(folder, "ADMISSIONS")
    assert path is not None
    found = table["hadm_id"].isin(stays.index)
    share = max(found.mean(), stays.index.isin(table["hadm_id"]).mean())
    if share < HARDLY_ANY or not found.any():
        raise InputError(
            f"{path}: {found.sum():,} of its {len(table):,} rows are of an admission in "
            f"{admissions}; its hadm_id are such as {table['hadm_id'].iloc[0]!r}, those there such "
            f"as {stays.index[0]!r}; give files of one release"
        )
    joined = table[found].join(stays, on="hadm_id")
    refuse(
        path,
        joined,
        joined["subject_id"] != joined["admitted"],
        lambda row: (
            f"admission {row['hadm_id']} is of patient {row['subject_id']} here, and of "
            f"{row['admitted']} in {admissions}"
        ),
    )
    return joined, _counted(name, ~found, "of no admission")


def _times_of_drugs(folder: Path, drugs: Any) -> list[str]:
    """Count the drugs without a start, and those that begin outside their admission."""
    begins = drugs["startdate"].dropna()
    stays = drugs.loc[begins.index]
    early = begins.dt.normalize() < stays["admittime"].dt.normalize()
    late = begins.dt.normalize() > stays["dischtime"].dt.normalize()
    if len(begins) and (early | late).mean() > 1 - HARDLY_ANY:
        row = stays.iloc[0]
        raise InputError(
            f"{_found(folder, 'PRESCRIPTIONS')}, line {row.name}: hardly a drug begins within its "
            f"admission: {row['drug']!r} on {row['startdate']}, admission {row['hadm_id']} on "
            f"{row['admittime']}; give files of one release"
        )
    notes = _counted("PRESCRIPTIONS", drugs["startdate"].isna(), "without a start")
    notes += _counted("PRESCRIPTIONS", drugs["drug"] == "", "without a drug")
    if outside := int((early | late).sum()):
        notes.append(f"PRESCRIPTIONS: {outside:,} of {len(drugs):,} begin outside their admission")
    return notes


def _births(folder: Path, encoding: str, events: Any) -> list[str]:
    """Refuse events before birth, where births are known; count the patients without one."""
    path = _found(folder, "PATIENTS")
    if path is None:
        return []
    people = _table(folder, encoding, "PATIENTS", "dob", once="subject_id").set_index("subject_id")
    patients = events["patient"].drop_duplicates()
    known = patients.isin(people.index)
    if known.mean() < HARDLY_ANY:
        raise InputError(
            f"{path}: {known.sum():,} of {len(known):,} patients are there; its subject_id are "
            f"such as {people.index[0]!r}, those with events such as {patients.iloc[0]!r}; give "
            "files of one release"
        )
    born = events["patient"].map(people["dob"])
    early = events[events["time"] < born]
    if len(early):
        first = early.iloc[0]
        raise InputError(
            f"{folder}: patient {first['patient']} has {first['code']!r} on {first['time']}, "
            "before birth"
        )
    missing = int((~known).sum())
    return [f"PATIENTS: {missing:,} of {len(known):,} patients are not there"] if missing else []


def _counted(name: str, left_out: Any, why: str) -> list[str]:
    """Report how many rows of a file are left out, if any are."""
    count = int(left_out.sum())
    return [f"{name}: {count:,} of {len(left_out):,} {why}, left out"] if count else []


def _table(folder: Path, encoding: str, name: str, *columns: str, once: str = "") -> Any:
    """Read one of the files; columns of times as times, no value of column `once` twice."""
    path = _found(folder, name)
    if path is None:
        raise InputError(f"{folder} has no {name}.csv or {name}.csv.gz")
    table = filled_rows(
        path, named_small(path, read_table(path, encoding=encoding)), "subject_id", *columns
    )
    refuse(path, table, table["subject_id"] == "", lambda row: "the subject_id is missing")
    table = table.assign(**{n: table[n].map(as_id) for n in IDS if n in table})
    if once:
        say = "occurs twice, and must occur once"
        refuse(path, table, table[once].duplicated(), lambda row: f"{once} {row[once]} {say}")
    times = [column for column in columns if column in TIMES]
    table = table.assign(**by_one_clock(path, table, times))
    for column in times:
        table[column] = read_times(path, table, column, needed=TIMES[column])
    return table


def _found(folder: Path, name: str) -> Path | None:
    names = [n + end for n in (name, name.lower()) for end in (".csv", ".csv.gz")]
    return next((folder / n for n in names if (folder / n).is_file()), None)
