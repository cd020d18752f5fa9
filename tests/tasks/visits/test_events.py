"""Event tables and MIMIC's files: what is read, and what is refused in one line."""

import gzip
import os
from pathlib import Path

import pandas as pd
import pytest

from plait.cli import run as run_command
from plait.errors import InputError
from plait.tasks.visits.events import read_events
from plait.tasks.visits.mimic import is_mimic, read_mimic

HEAD = "patient,visit,kind,code\n"
TIMED = "patient,time,end,birth,kind,code\n"


def events(tmp_path: Path, text: str, hours: float = 24.0) -> list[tuple]:
    path = tmp_path / "events.csv"
    path.write_text(text)
    return list(read_events(path, hours).itertuples(index=False, name=None))


def test_visits_are_periods_where_there_are_no_times(tmp_path):
    read = events(tmp_path, HEAD + "b,2,drug, x \n\na,0,diagnosis,y\n")
    assert read == [("b", 2, "drug", "x"), ("a", 0, "diagnosis", "y")]


def test_periods_of_hours_are_counted_from_midnight_before_the_first_event(tmp_path):
    rows = [
        "a,2020-03-01 22:00,,,drug,x",  # 22 hours after midnight
        "a,2020-03-02 11:59:59,,,drug,y",
        "a,2020-03-02 12:00,,,drug,z",
        "b,2021-01-01,,,drug,x",
    ]
    text = TIMED + "\n".join(rows)
    assert [r[1] for r in events(tmp_path, text, 24)] == [0, 1, 1, 0]
    assert [r[1] for r in events(tmp_path, text, 12)] == [1, 2, 3, 0]


@pytest.mark.parametrize(
    ("end", "periods"),
    [
        ("2020-03-02 08:00", [0, 1]),
        ("2020-03-02", [0]),  # at midnight the next day has not begun
        ("2020-03-02 00:01", [0, 1]),
        ("2020-03-01 08:00", [0]),
        ("2019-01-01", [0]),  # an end before its beginning: a moment
        ("", [0]),
        ("2020-03-05", [0, 1, 2, 3]),
    ],
)
def test_an_event_is_in_every_period_before_its_end(tmp_path, end, periods):
    read = events(tmp_path, TIMED + f"a,2020-03-01 08:00,{end},1970-01-01,drug,x\n")
    assert [r[1] for r in read] == periods


def test_visits_are_taken_where_hours_are_0(tmp_path):
    text = "patient,visit,time,kind,code\na,5,2020-03-01,drug,x\na,6,2020-03-01,drug,x\n"
    assert [r[1] for r in events(tmp_path, text, 0)] == [5, 6]
    assert [r[1] for r in events(tmp_path, text, 24)] == [0, 0]


CLOCKS = {
    "one offset": ("22:00+02:00", "01:00+0200", "2020-03-02T08:00:00.5 +02"),
    "of UTC": ("22:00Z", "01:00-00:00", "2020-03-02T08:00 z"),
    "half an hour": ("22:00-03:30", "01:00-0330", "20200302T0800-03:30"),
    "in some rows": ("22:00", "01:00+02:00", "2020-03-02"),
}


@pytest.mark.parametrize("clock", CLOCKS)
def test_midnight_is_that_of_the_clock_that_times_are_by(tmp_path, clock):
    first, second, end = CLOCKS[clock]
    rows = [f"a,2020-03-01T{first},{end},1970-01-01,drug,x", f"a,2020-03-02 {second},,,drug,y"]
    read = events(tmp_path, TIMED + "\n".join(rows))
    assert [r[1] for r in read if r[3] == "y"] == [1]
    assert [r[1] for r in read if r[3] == "x"] == ([0] if end == "2020-03-02" else [0, 1])


BAD = {
    "unknown kind": (
        HEAD + "a,0,drug,x\na,1,lab,x\n",
        "line 3: kind 'lab' is unknown; kinds are drug, diagnosis, procedure",
    ),
    "time": (
        TIMED + "a,2020-03-01,,,drug,x\na,2020-13-01,,,drug,x\n",
        "line 3: time '2020-13-01' is not a time such as 2020-03-01",
    ),
    "half an offset": (
        TIMED + "a,2020-03-01T01:00+0:00,,,drug,x\na,2020-03-02,,,drug,x\n",
        "line 2: time '2020-03-01T01:00+0:00' is not a time such as 2020-03-01",
    ),
    "no time": (TIMED + "a,,,,drug,x\n", "line 2: time '' is not a time"),
    "end": (TIMED + "a,2020-03-01,soon,,drug,x\n", "line 2: end 'soon' is not a time"),
    "before birth": (
        TIMED + "a,2020-03-01,,2020-03-02,drug,x\n",
        "line 2: patient 'a' has an event on 2020-03-01, before birth on 2020-03-02",
    ),
    "before the first period": (
        HEAD + "a,0,drug,x\na,-1,drug,x\n",
        "line 3: visit -1 lies before the first period; visits count from 0",
    ),
    "visit": (HEAD + "a,first,drug,x\n", "line 2: visit 'first' is not a whole number"),
    "no such visit": (HEAD + "a,1e300,drug,x\n", "line 2: visit 1e300 is too large"),
    "two clocks": (
        TIMED + "a,2020-03-01,,,drug,x\na,2020-03-29T01:00+01:00,2020-03-29T04:00+02:00,,drug,x\n",
        "line 3: end '2020-03-29T04:00+02:00' has another offset from UTC than '2020-03-29T01:00",
    ),
    "end without end": (
        TIMED + "a,2020-03-01,9999-12-31,,drug,x\n",
        "'x' of patient 'a' lasts from 2020-03-01 00:00:00 until 9999-12-31 00:00:00, more than",
    ),
    "twice but for a letter": (
        "patient,Patient,visit,kind,code\na,a,0,drug,x\n",
        "line 1: the column 'patient' is there twice, since upper and lower case are one; ren",
    ),
    "half a visit": (HEAD + "a,1.5,drug,x\n", "line 2: visit '1.5' is not a whole number"),
    "code": (HEAD + "a,0,drug,\n", "line 2: the code is missing"),
    "patient": (HEAD + ",0,drug,x\n", "line 2: the patient is missing"),
    "column": ("patient,visit,code\na,0,x\n", "has no column 'kind'; its columns are patient,"),
    "when": ("patient,kind,code\na,drug,x\n", "there must be a column visit or time; it has"),
    "end without time": (
        "patient,visit,end,kind,code\na,0,2020-01-01,drug,x\n",
        "the column end needs a column time",
    ),
    "no rows": (HEAD, "has no rows under its first line"),
    "empty": ("", "line 1: the header is empty; it must name the columns"),
    "wide": (HEAD + "a,0,drug,x,1,2\n", "line 2 has 6 columns, and line 1 names 4"),
    "ragged": (HEAD + "a,0,drug,x\na,0,drug,x,1\n", "line 3 has 5 columns, and line 1 names 4"),
    "no two periods": (
        HEAD + "a,0,drug,x\nb,0,drug,x\n",
        "no patient of 2 has two periods, so there is no next one to predict; give longer",
    ),
    "no drugs": (HEAD + "a,0,diagnosis,x\na,1,diagnosis,x\n", "has no events of the kind drug"),
    "too few": (
        HEAD + "a,0,drug,x\na,1,drug,x\n",
        "1 patients have drugs in a second period or later; 10 at least are needed",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_one_line(tmp_path, capsys, case):
    text, message = BAD[case]
    path, out = tmp_path / "events.csv", tmp_path / "run"
    path.write_text(text)
    arguments = ["train", "visits", "--data", str(path), "--out", str(out), "--threads", "1"]
    assert run_command(arguments) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert str(path) in printed
    assert message in printed
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere.csv"], "nowhere.csv: no such file or folder; give a table of events"),
        (["--data", "."], "has no ADMISSIONS.csv"),
        (["--data", ""], "--data is empty; give a table of events, a folder, or generated"),
        (["--period-hours", "1e-9"], "--period-hours must be 0 or at least a minute, 0.017, not"),
        (["--period-hours", "1e12"], "--period-hours must be less than 1000001, not"),
        (["--interactions", "pairs.csv"], "generated patients have interactions of their own"),
        (["--operator", "attention", "--hidden-size", "6"], "a multiple of attention's 4 heads"),
    ],
)
def test_bad_options_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run_command(["train", "visits", *arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


FILES = {
    "ADMISSIONS": (
        "ROW_ID,SUBJECT_ID,HADM_ID,ADMITTIME,DISCHTIME\n"
        "1,7,71,2100-01-05 10:00:00,2100-01-07 09:00:00\n"
        "2,7,70,2099-01-05 10:00:00,2099-01-05 20:00:00\n"
    ),
    "PRESCRIPTIONS": (
        "SUBJECT_ID,HADM_ID,STARTDATE,ENDDATE,DRUG_TYPE,DRUG\n"
        "7,71,2100-01-05 00:00:00,2100-02-01 00:00:00,MAIN,Aspirin \n"
        "7,71,2100-01-05 00:00:00,2100-01-09 00:00:00,BASE,D5W\n"
        "7,70,2099-01-05 00:00:00,2099-01-05 00:00:00,MAIN,ASPIRIN\n"
        "7,70,,2099-01-05 00:00:00,MAIN,Heparin\n"
    ),
    "DIAGNOSES_ICD": "SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE\n7,71,1,4019\n7,71,2,\n",
    "PROCEDURES_ICD": "SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE\n7,70,1,3605\n",
    "PATIENTS": "SUBJECT_ID,GENDER,DOB\n7,F,2050-01-01 00:00:00\n",
}


def mimic(folder: Path, **changed: str) -> Path:
    for name, text in {**FILES, **changed}.items():
        (folder / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def test_mimic_by_days_and_by_admissions(tmp_path):
    folder = mimic(tmp_path)
    assert is_mimic(folder)
    rows = set(read_mimic(folder, 24).itertuples(index=False, name=None))
    days = [0, 365, 366, 367]  # of 2099-01-05 … 2100-01-07; not beyond the discharge
    assert rows == {
        *(("7", day, "drug", "aspirin") for day in days),
        ("7", 367, "diagnosis", "4019"),  # written down at the discharge
        ("7", 0, "procedure", "3605"),
    }
    rows = set(read_mimic(folder, 0).itertuples(index=False, name=None))
    assert rows == {
        ("7", 0, "drug", "aspirin"),
        ("7", 0, "procedure", "3605"),
        ("7", 1, "drug", "aspirin"),
        ("7", 1, "diagnosis", "4019"),
    }


def test_mimic_with_what_is_missing_or_before_birth(tmp_path):
    folder = mimic(tmp_path, PATIENTS="SUBJECT_ID,DOB\n7,2099-06-01\n")
    with pytest.raises(InputError, match=r"patient 7 has 'aspirin' on 2099-01-05 .* before birth"):
        read_mimic(folder)
    mimic(folder, PATIENTS="SUBJECT_ID,DOB\n7,2050-01-01\n7,2050-01-01\n")
    with pytest.raises(InputError, match=r"PATIENTS.csv.gz, line 3: subject_id 7 occurs twice"):
        read_mimic(folder)
    mimic(folder, ADMISSIONS=FILES["ADMISSIONS"] + "3,7,70,2099-01-05,2099-01-09\n")
    with pytest.raises(InputError, match=r"ADMISSIONS.csv.gz, line 4: hadm_id 70 occurs twice"):
        read_mimic(folder)
    mimic(folder, PRESCRIPTIONS=FILES["PRESCRIPTIONS"].replace(":00,", ":00Z,"))
    assert len(read_mimic(folder)) == 6
    mimic(folder, PATIENTS="SUBJECT_ID,DOB\n7,unknown\n")
    with pytest.raises(InputError, match=r"PATIENTS.csv.gz, line 2: dob 'unknown' is not a time"):
        read_mimic(folder)
    (folder / "PATIENTS.csv.gz").unlink()
    assert len(read_mimic(folder)) == 6
    (folder / "DIAGNOSES_ICD.csv.gz").unlink()
    with pytest.raises(InputError, match=r"has no DIAGNOSES_ICD.csv or DIAGNOSES_ICD.csv.gz"):
        read_mimic(folder)


def test_the_mimic_demo():
    folder = Path(os.environ.get("PLAIT_DATA", "")) / "visits" / "mimic3demo"
    if not is_mimic(folder):
        pytest.skip("PLAIT_DATA names no folder with visits/mimic3demo")
    table = read_mimic(folder, 0)
    assert table["patient"].nunique() == 100
    assert table.groupby("patient")["period"].max().max() == 14
    assert table.groupby("kind")["code"].nunique().to_dict() == {
        "diagnosis": 581, "drug": 518, "procedure": 164,
    }  # fmt: skip


def test_parquet_is_the_table_in_csv(tmp_path) -> None:
    pytest.importorskip("pyarrow")
    times = pd.to_datetime(["2020-03-01 22:00", "2020-03-02 08:00", "2020-03-05 09:30"])
    ends = pd.to_datetime([None, "2020-03-04", None])
    frame = pd.DataFrame({
        "Patient": [7, 7, 12], "time": times, "end": ends,
        "kind": pd.Categorical(["diagnosis", "drug", "drug"]), "code": [" asthma", "x", "y"],
    })  # fmt: skip
    frame.to_csv(tmp_path / "e.csv", index=False)
    frame.to_parquet(tmp_path / "e.parquet", index=False)
    pd.testing.assert_frame_equal(
        read_events(tmp_path / "e.parquet"), read_events(tmp_path / "e.csv")
    )
    frame.assign(kind=["drug", "drink", "drug"]).to_parquet(tmp_path / "bad.parquet")
    with pytest.raises(InputError, match=r"bad\.parquet, row 2: kind 'drink' is unknown"):
        read_events(tmp_path / "bad.parquet")
    (tmp_path / "none.parquet").write_text("no")
    with pytest.raises(InputError, match=r"^cannot read .*none\.parquet: "):
        read_events(tmp_path / "none.parquet")
    with pytest.raises(InputError, match=r"^cannot read .*gone\.parquet: No such file"):
        read_events(tmp_path / "gone.parquet")
