"""The event table of MIMIC-III, from its own files."""

from pathlib import Path

import pandas as pd

from plait.errors import InputError
from plait.tasks.visits.events import into_periods, read_table

CODED = {"diagnosis": "DIAGNOSES_ICD", "procedure": "PROCEDURES_ICD"}


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
    stays = _table(folder, "ADMISSIONS", ("subject_id", "hadm_id", "admittime", "dischtime"))
    stays = stays.assign(
        admitted=pd.to_datetime(stays["admittime"]), left=pd.to_datetime(stays["dischtime"])
    ).sort_values("admitted")
    stays["visit"] = stays.groupby("subject_id").cumcount()
    stays = stays.set_index("hadm_id")[["visit", "left"]]
    drugs = _table(
        folder,
        "PRESCRIPTIONS",
        ("subject_id", "hadm_id", "startdate", "enddate", "drug_type", "drug"),
    )
    drugs = drugs[drugs["drug_type"] == "MAIN"].join(stays, on="hadm_id", how="inner")
    end = pd.to_datetime(drugs["enddate"], errors="coerce").clip(upper=drugs["left"])
    tables = [
        drugs.assign(
            kind="drug", code=drugs["drug"].str.lower(), end=end,
            time=pd.to_datetime(drugs["startdate"], errors="coerce"),
        )
    ]  # fmt: skip
    for kind, name in CODED.items():
        coded = _table(folder, name, ("subject_id", "hadm_id", "icd9_code"))
        coded = coded.join(stays, on="hadm_id", how="inner")
        coded = coded.assign(kind=kind, code=coded["icd9_code"], time=coded["left"], end=pd.NaT)
        tables.append(coded)
    columns = ["subject_id", "visit", "time", "end", "kind", "code"]
    events = pd.concat([table[columns] for table in tables], ignore_index=True)
    events = events.rename(columns={"subject_id": "patient"})
    events = events[events["time"].notna() & (events["code"] != "")]
    _refuse_unborn(folder, events)
    return into_periods(folder, events, hours)


def _refuse_unborn(folder: Path, events: pd.DataFrame) -> None:
    if _found(folder, "PATIENTS") is None:
        return
    people = _table(folder, "PATIENTS", ("subject_id", "dob"))
    born = events["patient"].map(pd.to_datetime(people.set_index("subject_id")["dob"]))
    early = events[events["time"] < born]
    if len(early):
        first = early.iloc[0]
        raise InputError(
            f"{folder}: patient {first['patient']} has {first['code']!r} on {first['time']}, "
            "before birth"
        )


def _table(folder: Path, name: str, needed: tuple[str, ...]) -> pd.DataFrame:
    path = _found(folder, name)
    if path is None:
        raise InputError(f"{folder} has no {name}.csv or {name}.csv.gz")
    return read_table(path, needed)


def _found(folder: Path, name: str) -> Path | None:
    names = [n + end for n in (name, name.lower()) for end in (".csv", ".csv.gz")]
    return next((folder / n for n in names if (folder / n).is_file()), None)
