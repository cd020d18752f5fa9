"""Tables in any encoding, and with German days: every command that reads one names what to give."""

from pathlib import Path

import pytest

from plait.cli import run

EDGES = "source,target\n" + "".join(f"Köln{k},Köln{(k + 1) % 9}\n" for k in range(9))
NODES = "id,größe,art\n" + "".join(f"Köln{k},{k},{'ab'[k % 2]}\n" for k in range(9))
WAVES = "Zeit;Köln;Graz\n" + "".join(
    f"{1 + k // 24:02}.03.2024 {k % 24}:00;{k % 7},5;{k % 5}\n" for k in range(90)
)
EVENTS = "patient,time,kind,code\n" + "".join(
    f"Jörg{k},{1 + t}.3.24 8:00,{kind},{code}{(k + t) % 3}\n"
    for k in range(30)
    for t in range(3)
    for kind, code in (("drug", "säure"), ("diagnosis", "d"))
)
OPTIONS = {
    "nodes": "--edges edges.csv --nodes nodes.csv --label art --hidden-size 4 --operator dense",
    "links": "--edges edges.csv --nodes nodes.csv --hidden-size 4 --operator dense",
    "forecast": "--data waves.csv --time Zeit --hidden-size 4 --history 3 --horizon 2 "
    "--operator dense",
    "visits": "--data events.csv --hidden-size 4 --graph-layers 1 --view sequence",
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def to(encoding: str) -> None:
        for name, text in (("edges", EDGES), ("nodes", NODES), ("waves", WAVES),
                           ("events", EVENTS)):  # fmt: skip
            Path(f"{name}.csv").write_text(text, encoding)

    return to


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("task", OPTIONS)
def test_the_likely_encoding_is_offered_and_read(write, task, encoding, capsys):
    write(encoding)
    words = ["train", task, *OPTIONS[task].split(), "--steps", "1", "--device", "cpu"]
    assert run([*words, "--out", "run"]) == 2
    errors = capsys.readouterr().err
    assert errors.endswith(f"; it may be {encoding}: give --encoding {encoding}\n")
    assert errors.count("\n") == 1
    assert run([*words, "--out", "run", "--encoding", encoding]) == 0
    out, errors = capsys.readouterr()
    assert errors == ""
    assert ("days are read as day.month.year" in out) == (task in ("forecast", "visits"))
    assert run(["predict", "run"]) == 0
    assert "ö" in Path("run/predictions.csv").read_text("utf-8")


@pytest.mark.parametrize("task", ["forecast", "visits"])
def test_other_data_may_have_another_encoding_and_how_it_was_read_is_printed(write, task, capsys):
    write("utf-8")
    words = ["train", task, *OPTIONS[task].split(), "--steps", "1", "--device", "cpu"]
    assert run([*words, "--out", "run"]) == 0
    write("cp1252")
    data = OPTIONS[task].split()[1]
    Path("other.csv").write_bytes(Path(data).read_bytes())
    write("utf-8")
    for command in ("predict", "score"):
        capsys.readouterr()
        assert run([command, "run", "--data", "other.csv"]) == 2
        assert capsys.readouterr().err.endswith("it may be cp1252: give --encoding cp1252\n")
        assert run([command, "run", "--data", "other.csv", "--encoding", "cp1252"]) == 0
        errors = capsys.readouterr().err
        assert errors.startswith("plait: read: ")
        assert "days are read as day.month.year" in errors
        assert errors.count("\n") == 1


def test_an_encoding_is_for_what_reads_a_file_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert (
        run(
            [
                "train",
                "links",
                "--data",
                "karate",
                "--steps",
                "1",
                "--out",
                "run",
                "--operator",
                "dense",
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert run(["predict", "run", "--encoding", "cp1252"]) == 2
    assert capsys.readouterr().err == "plait: --encoding is not for 'links' runs\n"
