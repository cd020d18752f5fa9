"""Whatever stands in a file, it is read or refused in one line, and no warning comes before."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from plait.tasks.digits.data import read_idx
from plait.tasks.scenes.batches import Batch
from plait.tasks.scenes.files import encode, read_scenes
from plait.tasks.visits.events import read_events
from plait.tasks.visits.histories import Histories, join_interactions
from plait.tasks.visits.mimic import join_mimic

EVENTS = [
    b"patient,visit,kind,code\na,0,drug,x\na,1,drug,y\nb,2,diagnosis,z\nb,3.0,procedure,10\n",
    b"patient,time,end,birth,kind,code\na,2020-03-01 22:00,2020-03-04,1970-01-01,drug,x\n"
    b"a,2020-03-02T08:00Z,,,drug,y\nb,2021-01-01,,,diagnosis,z\n",
    b"patient;visit;time;kind;code\na;5;2020-03-01T01:00+02:00;drug;x\na;6;2020-03-02;drug;x\n",
]
PAIRS = [b"one,other,why\nx,y,bad\nY,10.0,\nz,x,again\n", b"one;other\n x ;10\n"]
ADMISSIONS = [
    b"ROW_ID,SUBJECT_ID,HADM_ID,ADMITTIME,DISCHTIME\n1,1,10,2150-01-01 10:00:00,2150-01-04 12:00\n"
    b"2,1,11,2150-01-06 10:00:00,2150-01-07 12:00:00\n"
]
OTHERS = {
    "PRESCRIPTIONS": "subject_id,hadm_id,startdate,enddate,drug_type,drug\n"
    "1,10,2150-01-01,2150-01-03,MAIN,aspirin\n1,11,2150-01-06,,MAIN,heparin\n",
    "DIAGNOSES_ICD": "subject_id,hadm_id,icd9_code\n1,10,4019\n1,11,0388\n",
    "PROCEDURES_ICD": "subject_id,hadm_id,icd9_code\n1,10,0040\n",
    "PATIENTS": "subject_id,dob\n1,2100-01-01\n",
}
IDX = b"\x00\x00\x08\x03" + bytes([0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 4]) + bytes(range(24))


def scenes_of(path: Path) -> None:
    scenes = read_scenes(path)
    batch = Batch.of(scenes.scenes, len(scenes.predicates), torch.device("cpu"))
    assert batch.objects.isfinite().all()
    assert batch.geometry.isfinite().all()
    encode(scenes)


def events_of(path: Path) -> None:
    Histories.of(read_events(path), "a file").sha256  # noqa: B018


def visits_of(path: Path) -> None:
    Histories.of(read_events(path, 0.0), "a file").sha256  # noqa: B018


def interactions_of(path: Path) -> None:
    join_interactions(path, (("drug", "10"), ("drug", "x"), ("drug", "y"), ("diagnosis", "z")))


def mimic_of(path: Path) -> None:
    for name, text in OTHERS.items():
        if not (path.parent / f"{name}.csv").exists():
            (path.parent / f"{name}.csv").write_text(text)
    Histories.of(join_mimic(path.parent).events, "a folder").sha256  # noqa: B018


DOCUMENT = {
    "images": [{"id": 1, "width": 90, "height": 50.5, "file_name": "a.png"}],
    "categories": [{"id": 4, "name": "dog"}, {"id": 1, "name": "北"}],
    "annotations": [
        {"id": 7, "image_id": 1, "category_id": 4, "bbox": [0, 0, 20, 40.5], "features": [1, 2.5]},
        {"id": 8, "image_id": 1, "category_id": 1, "bbox": [60, 10, 9, 9], "score": 0.5,
         "features": [0, 1e-3]},
    ],
    "predicates": [{"id": 5, "name": "sees"}],
    "relations": [{"subject_id": 7, "predicate_id": 5, "object_id": 8}],
}  # fmt: skip
SCENES = [json.dumps(DOCUMENT).encode(), json.dumps(DOCUMENT, indent=0).encode("utf-16")]
READERS = {
    "scenes": (scenes_of, SCENES, "a.json", 10_000, 1_000_000),
    "events": (events_of, EVENTS, "a.csv", 5_000, 1_000_000),
    "visits": (visits_of, EVENTS[::2], "a.csv", 5_000, 1_000_000),
    "interactions": (interactions_of, PAIRS, "a.csv", 10_000, 1_000_000),
    "mimic": (mimic_of, ADMISSIONS, "ADMISSIONS.csv", 1_000, 100_000),
    "digits": (read_idx, [IDX, gzip.compress(IDX)], "a-idx3-ubyte", 10_000, 1_000_000),
}
"""What reads a file, files that it reads, their name, how many cases, and how many slow ones."""


@pytest.fixture
def try_all(fuzz, contents, tmp_path):
    def run(reader: str, cases: int) -> None:
        read, valid, name, _, _ = READERS[reader]
        path = tmp_path / name
        path.touch()

        def of(content: bytes) -> None:
            contents[path] = content
            read(path)

        found = fuzz(of, valid, cases)
        assert found.total() == cases
        assert min(found["read"], found["refused"]) > 0.005 * cases

    return run


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_read_or_refused(try_all, reader):
    try_all(reader, READERS[reader][3])


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_very_many_damaged_files_are_read_or_refused(try_all, reader):
    try_all(reader, READERS[reader][4])
