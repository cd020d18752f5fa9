"""How MIMIC's files are joined: what is found, what is counted, what is refused."""

from pathlib import Path

import pytest

from plait.cli import run as run_command
from plait.errors import InputError
from plait.tasks.visits.mimic import join_mimic, read_mimic

STAY = "2150-01-0{0} 10:00:00,2150-01-0{1} 12:00:00"
FILES = {
    "ADMISSIONS": "subject_id,hadm_id,admittime,dischtime\n"
    f"1,10,{STAY.format(1, 4)}\n1,11,{STAY.format(6, 7)}\n2,20,{STAY.format(1, 3)}\n",
    "PRESCRIPTIONS": "subject_id,hadm_id,startdate,enddate,drug_type,drug\n"
    "1,10,2150-01-01,2150-01-03,MAIN,aspirin\n1,11,2150-01-06,,MAIN,heparin\n"
    "2,20,2150-01-01,,MAIN,aspirin\n",
    "DIAGNOSES_ICD": "subject_id,hadm_id,icd9_code\n1,10,4019\n1,11,0388\n2,20,4019\n",
    "PROCEDURES_ICD": "subject_id,hadm_id,icd9_code\n1,10,0040\n",
    "PATIENTS": "subject_id,dob\n1,2100-01-01\n2,2100-01-01\n",
}
WHOLE = {
    ("1", 0, "drug", "aspirin"), ("1", 0, "diagnosis", "4019"), ("1", 0, "procedure", "0040"),
    ("1", 1, "drug", "heparin"), ("1", 1, "diagnosis", "0388"),
    ("2", 0, "drug", "aspirin"), ("2", 0, "diagnosis", "4019"),
}  # fmt: skip


@pytest.fixture
def mimic(tmp_path):
    """Write the files, some of them changed, and give their folder."""

    def write(**changed: str) -> Path:
        for name, text in {**FILES, **changed}.items():
            (tmp_path / f"{name}.csv").write_text(text)
        return tmp_path

    return write


def rows(folder: Path) -> set[tuple]:
    return set(read_mimic(folder, 0).itertuples(index=False, name=None))


def test_files_that_fit_have_no_notes(mimic):
    assert join_mimic(mimic()).notes == ()
    assert rows(mimic()) == WHOLE


@pytest.mark.parametrize("form", ["{}.0", " {}", "00{}", "{}.", "{}e0", '"{}"', "+{}"])
@pytest.mark.parametrize("name", FILES)
def test_an_id_is_the_same_however_a_whole_number_is_written(mimic, form, name):
    head, *lines = FILES[name].splitlines()
    ids = 2 if "hadm_id" in head else 1
    cells = [line.split(",", ids) for line in lines]
    changed = [",".join([*map(form.format, c[:ids]), *c[ids:]]) for c in cells]
    folder = mimic(**{name: "\n".join([head, *changed])})
    assert join_mimic(folder).notes == ()
    assert rows(folder) == WHOLE


def test_rows_that_are_lost_are_counted(mimic):
    folder = mimic(
        PRESCRIPTIONS=FILES["PRESCRIPTIONS"] + "1,99,2150-01-01,,MAIN,x\n1,10,,,MAIN,x\n"
        "1,10,2150-01-02,,MAIN,\n2,20,2150-02-01,,MAIN,late\n2,20,2150-01-01,,BASE,water\n",
        DIAGNOSES_ICD=FILES["DIAGNOSES_ICD"] + "1,,4019\n3,30,4019\n1,10,\n",
        PATIENTS="subject_id,dob\n1,2100-01-01\n",
    )
    assert join_mimic(folder).notes == (
        "PRESCRIPTIONS: 1 of 7 of no admission, left out",
        "PRESCRIPTIONS: 1 of 6 without a start, left out",
        "PRESCRIPTIONS: 1 of 6 without a drug, left out",
        "PRESCRIPTIONS: 1 of 6 begin outside their admission",
        "DIAGNOSES_ICD: 2 of 6 of no admission, left out",
        "DIAGNOSES_ICD: 1 of 4 without a code, left out",
        "PATIENTS: 1 of 2 patients are not there",
    )
    assert rows(folder) == WHOLE | {("2", 0, "drug", "late")}


def test_other_patients_admissions_may_be_there_too(mimic):
    """A cohort's admissions next to the files of all: hardly a row of those is of the cohort."""
    others = "".join(f"{k},{k},4019\n" for k in range(1000, 2000))
    folder = mimic(DIAGNOSES_ICD=FILES["DIAGNOSES_ICD"] + others)
    assert join_mimic(folder).notes == ("DIAGNOSES_ICD: 1,000 of 1,003 of no admission, left out",)
    assert rows(folder) == WHOLE


REFUSED = {
    "other ids": (
        {"DIAGNOSES_ICD": "subject_id,hadm_id,icd9_code\n1,A10,4019\n"},
        "DIAGNOSES_ICD.csv: 0 of its 1 rows are of an admission in {0}/ADMISSIONS.csv; its hadm_id "
        "are such as 'A10', those there such as '10'; give files of one release",
    ),
    "another patient": (
        {"PROCEDURES_ICD": "subject_id,hadm_id,icd9_code\n1,10,1\n2,11,2\n"},
        "PROCEDURES_ICD.csv, line 3: admission 11 is of patient 2 here, and of 1 in {0}/ADMISSIONS",
    ),
    "another time": (
        {"PRESCRIPTIONS": FILES["PRESCRIPTIONS"].replace("2150", "2160")},
        "PRESCRIPTIONS.csv, line 2: hardly a drug begins within its admission: 'aspirin' on "
        "2160-01-01 00:00:00, admission 10 on 2150-01-01 10:00:00; give files of one release",
    ),
    "other patients": (
        {"PATIENTS": "subject_id,dob\nP1,2100-01-01\n"},
        "PATIENTS.csv: 0 of 2 patients are there; its subject_id are such as 'P1', those with "
        "events such as '1'; give files of one release",
    ),
    "no main drugs": (
        {"PRESCRIPTIONS": FILES["PRESCRIPTIONS"].replace("MAIN", "BASE")},
        "PRESCRIPTIONS.csv: no row has the drug_type MAIN; give the file as published",
    ),
    "no patient": (
        {"PROCEDURES_ICD": "subject_id,hadm_id,icd9_code\n,10,1\n"},
        "PROCEDURES_ICD.csv, line 2: the subject_id is missing",
    ),
    "the same admission": (
        {"ADMISSIONS": FILES["ADMISSIONS"] + f"1,10.0,{STAY.format(1, 4)}\n"},
        "ADMISSIONS.csv, line 5: hadm_id 10 occurs twice",
    ),
    "nothing left": (
        {
            "PRESCRIPTIONS": "subject_id,hadm_id,startdate,enddate,drug_type,drug\n1,10,,,MAIN,a\n",
            "DIAGNOSES_ICD": "subject_id,hadm_id,icd9_code\n1,10,\n",
            "PROCEDURES_ICD": "subject_id,hadm_id,icd9_code\n1,10,\n",
        },
        "none of its rows has both a code and a time; nothing is left",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_do_not_belong_together_are_refused(mimic, case):
    changed, message = REFUSED[case]
    folder = mimic(**changed)
    with pytest.raises(InputError) as error:
        read_mimic(folder)
    assert message.format(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_training_says_what_was_lost(tmp_path, capsys):
    rows = [f"p{k},{t},drug,{'Aspirin' if t else 'heparin'}" for k in range(12) for t in range(3)]
    (tmp_path / "events.csv").write_text("patient,visit,kind,code\n" + "\n".join(rows))
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("drug,other\naspirin,heparin\nheparin,warfarin\n")
    command = ["train", "visits", "--data", str(tmp_path / "events.csv"), "--steps", "1"]
    command += ["--interactions", str(pairs), "--threads", "1", "--hidden-size", "4"]
    assert run_command([*command, "--out", str(tmp_path / "run")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 of 2 pairs are of drugs in the events" in printed
    assert "1 of its 3 drugs are not, such as 'warfarin'" in printed
    assert "1 are written otherwise there, such as 'aspirin' for 'Aspirin'" in printed


def test_an_admission_in_the_year_1_is_read(tmp_path):
    """Nanoseconds do not reach so far."""
    files = {
        "ADMISSIONS": "subject_id,hadm_id,admittime,dischtime\n1,10,2150-01-01,0001-01-01\n"
        "1,11,2150-01-06,2150-01-07\n",
        "PRESCRIPTIONS": "subject_id,hadm_id,startdate,enddate,drug_type,drug\n"
        "1,10,2150-01-01,2150-01-03,MAIN,a\n1,11,2150-01-06,,MAIN,b\n",
        "DIAGNOSES_ICD": "subject_id,hadm_id,icd9_code\n1,10,4019\n",
        "PROCEDURES_ICD": "subject_id,hadm_id,icd9_code\n1,11,0040\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_text(text)
    assert set(join_mimic(tmp_path, 0.0).events["code"]) == {"a", "b", "4019", "0040"}
