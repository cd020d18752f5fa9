"""Bad input to every command and every task: one line, exit code 2, nothing before it."""

import json
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from plait.cli import run
from plait.tasks import TASKS, config_class

SMALL = {
    "text": "--data prose.txt --hidden-size 4 --embedding-size 4 --layers 1 --length 5 "
    "--batch-size 4",
    "memory": "--problem recall --length 3 --hidden-size 4 --embedding-size 4 --batch-size 4",
    "nodes": "--data karate --hidden-size 4 --operator dense",
    "links": "--data karate --hidden-size 4 --embedding-size 4 --operator dense",
    "forecast": "--data waves.csv --operator dense --hidden-size 4 --history 3 --horizon 2",
    "communities": "--data karate --hidden-size 4 --operator dense",
    "digits": "--network lstm --hidden-size 4 --layers 1 --history 2 --horizon 2 --batch-size 2",
    "scenes": "--scenes 12 --hidden-size 4 --layers 1 --operator dense --batch-size 4",
    "structure": "--nodes 12 --hidden-size 4 --layers 1 --batch-size 4",
    "visits": "--patients 20 --hidden-size 4 --graph-layers 1 --view sequence",
}
"""Options with which every task takes no time."""

PROSE = "Call me Ishmael. Some years ago, never mind how long precisely. " * 20


def small(task: str, *options: str) -> list[str]:
    """The words of a tiny training of a task, the options given in place of its own."""
    words = SMALL[task].split()
    given = dict(zip(words[::2], words[1::2], strict=True))
    given |= dict(zip(options[::2], options[1::2], strict=True))
    rest = {"--steps": "1", "--threads": "1", "--device": "cpu", "--out": "new"}
    given = rest | given
    return ["train", task, *(word for pair in given.items() for word in pair)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files that are good and bad, and two runs."""
    folder = tmp_path_factory.mktemp("bad")
    rows = "".join(f"{t},{t % 7},{t % 5}\n" for t in range(60))
    files = {
        "prose.txt": PROSE,
        "waves.csv": "time,a,b\n" + rows,
        "edges.csv": "source,target\n" + "".join(f"n{k},n{(k + 1) % 9}\n" for k in range(9)),
        "nodes.csv": "id,label\n" + "".join(f"n{k},{'ab'[k % 2]}\n" for k in range(9)),
        "empty": "",
        "line": "one line\n",
        "deep.json": "[" * 10**5,
        "list.json": "[1, 2]",
        "word.json": '"a"',
        "a;b.csv": "x;y\n1;2\n",
        "quote.csv": 'a,b\n"1,2\n',
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    for name, content in {
        "latin.txt": ("naïve café " * 100).encode("cp1252"),
        "utf16.txt": PROSE.encode("utf-16"),
        "zeros": bytes(1000),
        "noise": bytes(range(256)) * 4,
        "not.gz": b"no gzip",
        "cut.csv.gz": b"\x1f\x8b\x08\x00\x00",
    }.items():
        (folder / name).write_bytes(content)
    for name in ("void", "odd", "deep", "newer", "halves"):
        (folder / name).mkdir()
    (folder / "odd" / "file").write_text("x")
    for name in ("config.json", "grid.json", "study.json"):
        (folder / "deep" / name).write_text("[" * 10**5)
        (folder / "newer" / name).write_text(json.dumps({"format": 99}))
        (folder / "halves" / name).write_text('{"format": 1, "task": "text"')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("plait.tasks.text.task.SAMPLE_LENGTH", 5)
        assert run(small("text", "--out", "text")) == 0
        assert run(small("links", "--out", "links")) == 0
    return folder


BIG = ("1000000000000", "4611686018427387904", "99999999999999999999")
"""Sizes that no machine has room for, that torch counts to, and that it does not count to."""

RUNS = ("absent", "void", "odd", "deep", "newer", "halves", "prose.txt", "''", "NUL", "/dev/zero")
COMMANDS = ("resume", "score", "predict", "generate", "inspect")


def lines() -> Iterator[str]:
    """What to type after `plait`; NUL stands for a null byte."""
    for run_folder in RUNS:
        yield from (f"{command} {run_folder}" for command in COMMANDS)
    for command in COMMANDS:
        yield command
        for more in ("more", "--nothing 3", "--threads 9999", "--threads x", "--threads",
                     "--device tpu"):  # fmt: skip
            yield f"{command} text {more}"
    for option in ("--length", "--count", "--beams", "--top-k", "--seed"):
        yield from (f"generate text {option} {value}" for value in ("-1", "1.5", "x", "''", "1e3"))
    for option in ("--temperature", "--beta", "--top-p", "--min-p"):
        yield from (f"generate text {option} {value}" for value in ("-1", "nan", "x", "''"))
    for size in (f"--count {BIG[0]}", f"--beams {BIG[2]}", f"--count 2 --length {BIG[0]}",
                 f"--stop a --length {BIG[0]}", f"--listing --length {BIG[1]}",
                 f"--beams 3 --length {BIG[1]}"):  # fmt: skip
        yield f"generate text {size}"
    yield from GENERATE.strip().splitlines()
    for data in ("absent.txt", "empty", "zeros", "noise", "latin.txt", "utf16.txt", "/dev/zero",
                 "void", "NUL", "line", "not.gz"):  # fmt: skip
        yield f"score text --data {data}"
        yield f"predict links --data {data}"
    yield from OTHERS.strip().splitlines()
    for out in ("NUL", "prose.txt", "prose.txt/x", "text", "odd", "/dev/null", "/dev/null/x"):
        yield f"{shlex.join(small('text', '--out', out))}"


GENERATE = """
generate text --prompt §
generate text --prompt NUL
generate text --prompt 北京
generate text --prompt hello world
generate text hello
generate text --stop
generate text --stream --beams 2
generate text --stream --count 2
generate text --listing --stream
generate text --listing --weights int8
generate text --weights int4
generate text --beams 2 --greedy
generate text --beta 1 --temperature 1
generate links
"""

OTHERS = """
score text --data latin.txt --encoding klingon
score text --encoding
score links --dynamic
score links --skip-unknown
score links --encoding cp1252
predict text
predict links --for nobody
predict links --for NUL
predict links --for 0 --top 0
predict links --for 0 --top 1.5
predict links --top x
predict links --out absent/x.csv
predict links --out prose.txt
predict links --out NUL
predict links --out .
inspect text --out absent/x.png
inspect text --out prose.txt/x.png
inspect text --out x.doc
inspect text --out NUL
inspect text --out void
inspect text absent
inspect links --repetition
compare text
compare txt
compare text --out g
compare text --out g --vary
compare text --out g --vary cell
compare text --out g --vary cell=
compare text --out g --vary cell=lstm,,gru
compare text --out g --vary cell=lstm,lstm
compare text --out g --vary nothing=1
compare text --out g --vary seed=1,2
compare text --out g --vary cell=lstm,gru --cell rnn
compare text --out g --vary hidden_size=a,b
compare text --out g --vary hidden_size=4,1000000000000 --data prose.txt
compare text --out g --vary tied=maybe,no
compare text --out g --vary cell=lstm,gru --seeds 99999999999999999999
compare text --out g --vary cell=lstm,gru --seeds 99999
compare text --out g --vary cell=lstm,gru --seeds 0
compare text --out g --vary cell=lstm,gru --seeds a
compare text --out g --vary cell=lstm,gru --seeds 1,1
compare text --out g --vary cell=lstm,gru --seeds 1,99999999999999999999
compare text --out g --vary cell=lstm,gru --seeds=-5,3
compare text --out g --vary cell=lstm,gru --jobs 0
compare text --out g --vary cell=lstm,gru --jobs 1.5
compare text --out g --vary cell=lstm,gru --recipe none
compare text --out g --vary cell=lstm,gru --reach x
compare text --out prose.txt --vary cell=lstm,gru --data prose.txt
compare text --out odd --vary cell=lstm,gru --data prose.txt --length 5 --batch-size 4
compare text --out deep --vary cell=lstm,gru --data prose.txt --length 5 --batch-size 4
compare text --out newer --vary cell=lstm,gru --data prose.txt --length 5 --batch-size 4
compare text --out halves --vary cell=lstm,gru --data prose.txt --length 5 --batch-size 4
compare text --out NUL --vary cell=lstm,gru --data prose.txt --length 5 --batch-size 4
study 77
study nothing
study --out prose.txt --quick
study --out odd --quick
study --out deep --quick
study --out newer
study --out halves
study --out NUL --quick
study --threads -1 --quick
study --quik
data lst
data get
data get nothing
data get ptb
data get a b
data list all
data get ''
help nothing
help train nothing
--verson
-v
''
NUL
--threads 1 train text
train --data x
trian text
text
train train
train text text
train text --data
train text -x
train text --tied=maybe
train text --from absent
train text --from links
train text --data prose.txt --from text --hidden-size 5
train text --from deep
train text --from NUL
train text --recipe none
train nodes --recipe kipf2017 --data none
train nodes --edges edges.csv
train nodes --edges edges.csv --nodes nodes.csv --label absent
train links --edges absent.csv
train visits --interactions absent.csv
train forecast --data quote.csv
train scenes --data list.json
train digits --digits noise
"""

LINES = list(lines())


def sizes() -> list[tuple[str, str, str]]:
    """A size of every task that is too large, or below the least."""
    found = []
    for task in TASKS:
        for f in fields(config_class(task)):
            if f.type is int and f.name in ("hidden_size", "layers", "embedding_size", "length",
                                            "batch_size", "history", "horizon"):  # fmt: skip
                flag = "--" + f.name.replace("_", "-")
                found += [(task, flag, value) for value in (*BIG, "-1")]
    return found


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a command that ends with 2, without a warning."""
    capsys.readouterr()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        code = run(words)
    out, errors = capsys.readouterr()
    assert (code, [str(w.message) for w in warned], out) == (2, [], "")
    assert errors.startswith("plait: ")
    assert errors.count("\n") == 1
    assert len(errors) > len("plait: \n")
    return errors


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder, and that nothing in it is new or gone afterwards."""
    monkeypatch.chdir(home)
    monkeypatch.delenv("PLAIT_DATA", raising=False)
    before = sorted(home.rglob("*"))
    yield
    assert sorted(home.rglob("*")) == before


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("line", LINES)
def test_bad_input_is_one_line(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused([word.replace("NUL", "\0") for word in shlex.split(line)], capsys)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("task", "flag", "value"), sizes())
def test_a_size_that_cannot_be_is_one_line(
    task: str, flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(small(task, flag, value), capsys)
    assert said.startswith((f"plait: {flag} ", "plait: recall has lengths from 1 to 1,000,000"))


def test_there_are_two_hundred() -> None:
    assert len(LINES) + len(sizes()) > 300


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("text", ("--lr", "1e308")),
        ("memory", ("--weight-decay", "1e308")),
        ("nodes", ("--penalty", "1e308")),
        ("links", ("--lr", "1e308")),
        ("structure", ("--lr", "1e308")),
    ],
)
def test_numbers_that_break_down_are_one_line(
    task: str, options: tuple[str, str], home: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(home)
    capsys.readouterr()
    assert run(small(task, *options, "--out", str(tmp_path / "run"), "--steps", "3")) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("plait: training diverged: ")
    assert errors.endswith(
        f"what was saved before is kept in {tmp_path / 'run'}; try a smaller --lr or --max-norm\n"
    )
    assert errors.count("\n") == 1
