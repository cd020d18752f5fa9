"""Words of the command line: what is meant by those it does not know; help, completion, names."""

import re
from pathlib import Path

import pytest

from plait.cli import run
from plait.cli.datasets import known_names
from plait.data import _EMBEDDED, DATA_SETS, LICENSED
from plait.graph_data.named import NAMED_GRAPHS
from plait.tasks import TASKS, config_class


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train text book.txt", "plait train text does not expect 'book.txt' here: did you mean "
         "--data book.txt?"),
        ("score run b.txt", "plait score does not expect 'b.txt' here: did you mean --data b.txt?"),
        ("generate run hello", "plait generate does not expect 'hello' here: did you mean --prompt "
         "hello?"),
        ("generate run --prompt hello world", "plait generate does not expect 'world' here: "
         "--prompt takes one value; put several words in quotes: --prompt 'hello world'"),
        ("train text --tied yes", "plait train text does not expect 'yes' here: --tied takes no "
         "value; leave it out"),
        ("train text hidden-size 3", "plait train text does not expect 'hidden-size' here: did you "
         "mean --hidden-size?"),
        ("resume a b", "plait resume does not expect 'b' here: leave it out"),
        ("train text -hidden-size 3", "Unknown option: -hidden-size. Did you mean --hidden-size?"),
        ("train text --hiden-size=3", "Unknown option: --hiden-size. Did you mean --hidden-size?"),
        ("train text --nodes x", "Unknown option: --nodes. plait help train text lists all "
         "options"),
        ("trian text", 'Unknown command "trian". Did you mean plait train? There are train, comp'),
        ("text train", 'Unknown command "text". Did you mean plait train text? There are train'),
        ("memroy", 'Unknown command "memroy". Did you mean plait train memory? There are train,'),
        ("data lst", 'Unknown command "lst". Did you mean plait data list? There are list, get'),
        ("train train", f'Unknown command "train". There are {", ".join(TASKS)}'),
        ("train --data x", "--data comes before the command: write plait train TASK --data …. "),
        ("--threads 1 train text", "--threads comes before the command: write plait COMMAND "),
        ("--verson", "Unknown option: --verson. Did you mean plait --version?"),
        ("help trian", 'Unknown command "trian". Did you mean plait train? There are train'),
        ("help train txt", 'Unknown command "txt". Did you mean plait train text? There are'),
        ("generate r --length 1.5", "Invalid value for --length: 1.5 is not a whole number"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_reported_with_suggestions(capsys, words, message):
    assert run(words.split()) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
    assert errors.startswith(f"plait: {message}")


@pytest.mark.parametrize("words", [[], ["train"], ["train", "text"], ["generate"], ["data", "get"]])
def test_help_is_that_of_the_flag(capsys, words):
    assert run(["help", *words]) == 0
    by_word = capsys.readouterr().out
    assert run([*words, "--help"]) == 0
    assert by_word == capsys.readouterr().out
    assert " ".join(["Usage: plait", *words]) in by_word


def test_completion_is_installed_for_a_shell(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(["--install-completion", "--shell", "bash"]) == 0
    capsys.readouterr()
    written = [p for p in tmp_path.rglob("*") if p.is_file()]
    scripts = [p for p in written if "--hidden-size" in p.read_text()]
    assert scripts, written


def test_every_name_that_a_task_knows_is_listed(capsys, monkeypatch):
    monkeypatch.delenv("PLAIT_DATA", raising=False)
    names = {known.name: known for known in known_names()}
    assert {*DATA_SETS, *LICENSED, *_EMBEDDED, *NAMED_GRAPHS} <= set(names)
    for task in TASKS:  # those that the help names
        said = config_class(task).__dataclass_fields__
        help_text = said["data"].metadata["help"] if "data" in said else ""
        for word in re.findall(r"[a-z][a-z0-9]+(?:-[a-z]+)?", help_text):
            assert word not in names or task in names[word].tasks.split(", "), (task, word)
    for name, known in names.items():
        if name in NAMED_GRAPHS:
            assert "links" in known.tasks
    assert run(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == list(names)
    files = [known.file for known in names.values() if known.file]
    assert sum(line.startswith(" " * 18) and "sha256" not in line for line in lines) == len(files)


def test_a_file_that_is_there_is_shown_with_its_place(capsys, monkeypatch, tmp_path):
    place = tmp_path / "series" / "chickenpox.json"
    place.parent.mkdir()
    place.write_text("{}")
    monkeypatch.setenv("PLAIT_DATA", str(tmp_path))
    assert run(["data", "list"]) == 0
    said = capsys.readouterr().out
    assert f"\n{'':<18}{place}\n" in said
    assert (
        "put graphs/planetoid/ind.cora.graph under a folder that PLAIT_DATA names" in said
        or (Path.home() / ".cache" / "plait").exists()
    )
