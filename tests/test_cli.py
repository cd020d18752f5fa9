"""The command line: what it prints, what it refuses, and with which code it ends."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from plait import __version__, api
from plait.cli import app, run
from plait.nn.registry import CELLS
from plait.tasks import TASKS, config_class
from plait.training.progress import PlainProgress
from plait.training.run import Run

PROSE = "Call me Ishmael. Some years ago, never mind how long precisely. " * 40
SMALL = [
    "--hidden-size", "8", "--embedding-size", "8", "--layers", "1", "--length", "10",
    "--batch-size", "4", "--threads", "1", "--device", "cpu",
]  # fmt: skip


def commands(parent=app, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], bool]:
    """Every command by its words, and whether it is one that does something itself."""
    found = {path: not any(name[0] != "-" for name in parent)}
    for name in parent:
        if name[0] != "-":
            found |= commands(parent[name], (*path, name))
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a text and a finished run."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "prose.txt").write_text(PROSE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(["train", "text", "--data", "prose.txt", "--out", "ok", "--steps", "4",
                    *SMALL]) == 0  # fmt: skip
        assert run(["train", "memory", "--problem", "recall", "--out", "recall", "--steps", "2",
                    *SMALL]) == 0  # fmt: skip
    return folder


@pytest.fixture(autouse=True)
def here(home, monkeypatch) -> Path:
    monkeypatch.chdir(home)
    monkeypatch.setattr("plait.tasks.text.task.SAMPLE_LENGTH", 20)
    return home


def said(capsys, *words: str, code: int = 0) -> str:
    """Run a command and give what it printed; what it complained of is nothing."""
    capsys.readouterr()
    assert run(list(words)) == code
    out, errors = capsys.readouterr()
    assert errors == ""
    return out


def plait(*words: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plait", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def test_train_generate_resume(capsys, tmp_path):
    out = said(capsys, "train", "text", "--data", "prose.txt", "--steps", "4", "--out",
               str(tmp_path / "run"), *SMALL)  # fmt: skip
    lines = out.splitlines()
    assert lines[0] == "plait text"
    assert "2,560 characters" in lines[1]
    assert sum(line.startswith("step ") for line in lines) == 4
    assert sum(line.startswith("--- sample at step ") for line in lines) == 3
    assert sum(line.startswith("test, with the weights of step ") for line in lines) == 1
    assert lines[-1] == f"saved in {tmp_path / 'run'}"
    text = said(capsys, "generate", str(tmp_path / "run"), "--prompt", "Call me", "--length", "30")
    assert text.startswith("Call me")
    assert len(text) == 7 + 30 + 1
    said_again = said(capsys, "resume", str(tmp_path / "run")).splitlines()
    assert said_again[-1] == f"{tmp_path / 'run'} is finished: all 4 steps are done"


def test_generate_with_options(capsys):
    def write(*words: str) -> str:
        return said(capsys, "generate", "ok", "--prompt", "me", "--length", "40", *words)

    plain = write()
    assert write("--seed", "0") == plain != write("--seed", "1")
    assert write("--stream") == plain
    assert write("--temperature", "0.5") == write("--beta", "2") != plain
    assert write("--greedy") == write("--beta", "inf") == write("--top-k", "1")
    assert write("--greedy", "--seed", "5") == write("--temperature", "0")
    assert write("--count", "2").splitlines() == [
        "--- 0", plain.rstrip("\n"), "--- 1", write("--count", "2").splitlines()[3],
    ]  # fmt: skip
    assert write("--stop", plain[10:12]).rstrip("\n") == plain[: plain.index(plain[10:12], 2)]
    unknown = said(capsys, "generate", "ok", "--prompt", "m§e", "--length", "40", "--skip-unknown")
    assert unknown == plain


def test_generate_with_rounded_weights_says_what_it_costs(capsys, tmp_path):
    words = ["generate", "ok", "--prompt", "me", "--length", "40", "--weights"]
    plain = said(capsys, *words, "float32")
    assert plain == said(capsys, *words[:-1])
    for kind in ("bfloat16", "int8"):
        assert run([*words, kind]) == 0
        out, errors = capsys.readouterr()
        assert out.startswith("me")
        numbers = re.fullmatch(
            rf"plait: weights in {kind}: (\d\.\d+) bits per character in place of (\d\.\d+) "
            r"\((.\d\.\d+)\), on (\d+) symbols of the test set\n", errors,
        )  # fmt: skip
        assert numbers
        after, before, change, symbols = map(float, numbers.groups())
        scored = api.score("ok")
        assert symbols == scored["characters"] + 1
        assert before == pytest.approx(scored["bits_per_character"], abs=1e-4)
        assert abs(after - before) < 0.05
        assert change == pytest.approx(after - before, abs=2e-4)


BAD = {
    "a missing file": (["--data", "absent.txt"], "no text 'absent.txt': there is no such file"),
    "an empty file": (["--data", "empty.txt"], "empty.txt is empty; give a file with some text"),
    "a binary file": (["--data", "picture"], "picture is not UTF-8 text: byte 0 is 0x89"),
    "a file with a zero": (["--data", "zero"], "zero is a binary file, not a text: byte 3 is 0"),
    "a short text": (["--data", "short.txt"], "short.txt has 10 characters; at least 40 are need"),
    "an empty folder": (["--data", "void"], "void is empty; give a file with some text in it"),
    "a negative size": (["--hidden-size", "-8"], "--hidden-size must be at least 1, not -8"),
    "no layers": (["--layers", "0"], "--layers must be at least 1, not 0"),
    "a negative batch": (["--batch-size", "-1"], "--batch-size must be at least 1, not -1"),
    "no steps": (["--steps", "0"], "--steps must be at least 1, not 0"),
    "minutes and steps": (["--minutes", "1"], "--minutes chooses the steps; leave out"),
    "byte pairs of bytes": (["--units", "bpe", "--vocabulary", "9"], "--vocabulary 9 is too small"),
    "not a number": (["--steps", "many"], "Invalid value for --steps: many is not a whole number"),
    "an endless number": (["--lr", "inf"], "--lr must be a finite number, not inf"),
    "no number at all": (["--lr", "nan"], "--lr must be a finite number, not nan"),
    "a large seed": (["--seed", str(10**20)], "--seed must be less than 9223372036854775808"),
    "no whole number": (["--layers", "1.5"], "Invalid value for --layers: 1.5 is not a whole"),
    "too much memory": (["--hidden-size", str(10**6)], "--hidden-size 1000000 needs about 64,"),
    "all is dropped": (["--dropout", "1"], "--dropout must be less than 1, not 1.0"),
    "an unknown cell": (["--cell", "lstn"], f"no cell named 'lstn'; there are {', '.join(CELLS)}"),
    "an unknown device": (["--device", "tpu"], 'Invalid value "tpu" for --device'),
    "an unknown option": (["--hiden-size", "8"], "Unknown option: --hiden-size"),
    "an option twice": (["--lr", "1", "--lr", "2"], "Parameter --lr specified multiple times"),
    "no value": (["--lr"], 'Command "train text" parameter --lr requires an argument'),
    "long sequences": (["--length", "9999"], "the training set has 2304 characters, too few for"),
    "an existing run": (["--out", "ok"], "ok exists already; give another --out"),
    "an existing file": (["--out", "prose.txt"], "prose.txt exists already and is no run folder"),
    "inside a file": (["--out", "prose.txt/run"], "prose.txt/run: Not a directory"),
}


@pytest.fixture
def clutter(here):
    """Files that are no texts, and what the folder holds before and after."""
    files = {"empty.txt": b"", "picture": b"\x89PNG", "zero": b"abc\0", "short.txt": b"ten chars\n"}
    for name, content in files.items():
        (here / name).write_bytes(content)
    (here / "void").mkdir(exist_ok=True)

    def everything() -> dict[str, bytes]:
        return {str(p): p.read_bytes() if p.is_file() else b"" for p in sorted(here.rglob("*"))}

    before = everything()
    yield
    assert everything() == before


def complaint(capsys, words: list[str]) -> str:
    """The one line on stderr of a command that ends with code 2."""
    capsys.readouterr()
    assert run(words) == 2
    out, errors = capsys.readouterr()
    assert errors.count("\n") == 1
    assert errors.endswith("\n")
    assert out == ""
    return errors.rstrip("\n").removeprefix("plait: ") if errors.startswith("plait: ") else ""


@pytest.mark.usefixtures("clutter")
@pytest.mark.parametrize("case", BAD)
def test_bad_input_to_train_is_one_line_and_leaves_nothing(capsys, here, case):
    options, message = BAD[case]
    given = dict(zip(SMALL[::2], SMALL[1::2], strict=True))
    given = {"--data": "prose.txt", "--steps": "4", **given}
    rest = [word for name, value in given.items() if name not in options for word in (name, value)]
    said = complaint(capsys, ["train", "text", *rest, *options])
    assert said.removeprefix(f"{here}/").startswith(message)


@pytest.mark.usefixtures("clutter")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["generate", "absent"], "absent is not a run folder: it has no config.json"),
        (["generate", "prose.txt"], "prose.txt is a file, not a run folder"),
        (["generate", "void"], "void is not a run folder: it has no config.json"),
        (["generate", "ok", "--prompt", "§1"], "the model has never seen '1' (U+0031), '§'"),
        (["generate", "ok", "--listing", "--weights", "int8"], "--listing shows the weights as"),
        (["generate", "ok", "--beta", "1", "--temperature", "1"], "give temperature or beta, not"),
        (["generate", "ok", "--beta", "-1"], "beta must be at least 0, not -1.0"),
        (["generate", "ok", "--temperature", "nan"], "temperature must be at least 0, not nan"),
        (["generate", "ok", "--top-k", "0"], "top_k must be at least 1, not 0"),
        (["generate", "ok", "--top-p", "2"], "top_p must be more than 0 and at most 1, not 2.0"),
        (["generate", "ok", "--min-p", "2"], "min_p must be from 0 to 1, not 2.0"),
        (["generate", "ok", "--length", "-1"], "length must be at least 0, not -1"),
        (["generate", "ok", "--count", "0"], "count must be at least 1, not 0"),
        (["generate", "ok", "--seed", "-1"], "seed must be at least 0 and less than 2**63, not"),
        (["generate", "ok", "--threads", "-1"], "--threads must be from 0 to 1024, not -1"),
        (["generate", "ok", "--stream", "--count", "2"], "--stream writes one text"),
        (["generate", "ok", "--beams", "2", "--stop", "a"], "--beams writes one text to its end"),
        (["generate", "ok", "--beams", "2", "--greedy"], "--beams finds one likely text"),
        (["generate", "ok", "--beams", "0"], "beams must be at least 1, not 0"),
        (["generate", "recall"], "recall was trained on 'memory' and writes no text"),
        (["generate", "recall", "--listing"], "recall was trained on 'memory' and writes no text"),
        (["generate", "ok", "--stream", "--prompt", "§"], "the model has never seen '§'"),
        (["generate", "ok", "--stream", "--length", "-1"], "length must be at least 0, not -1"),
        (["generate"], 'Command "generate" parameter --run requires an argument'),
        (["resume", "absent"], "absent is not a run folder: it has no config.json"),
        (["resume"], 'Command "resume" parameter --run requires an argument'),
        (["resume", "ok", "more"], "plait resume does not expect 'more' here: leave it out"),
        (["train", "txt"], 'Unknown command "txt"'),
        (["lern"], 'Unknown command "lern"'),
    ],
)
def test_bad_input_to_the_others_is_one_line(capsys, words, message):
    assert complaint(capsys, words).startswith(message)


def test_a_damaged_run_is_one_line(capsys, here, tmp_path):
    for name, content, message in (
        ("config.json", b"{", "config.json is damaged"),
        ("config.json", b'{"format": 99}', "config.json has format 99, of a newer Plait"),
        ("model.safetensors", b"", "model.safetensors: damaged"),
    ):
        path = tmp_path / f"{len(message)}"
        path.mkdir()
        for file in ("config.json", "model.safetensors"):
            (path / file).write_bytes((here / "ok" / file).read_bytes())
        (path / name).write_bytes(content)
        assert complaint(capsys, ["generate", str(path)]).startswith(f"{path}/{message}")


def test_every_command_helps_at_once():
    """Help is printed without torch, with an example where there is something to do."""
    code = (
        "import json, sys; from plait.cli import run\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    print('@@', *words, flush=True); assert run([*words, '--help']) == 0\n"
        "loaded = {'torch', 'numpy', 'scipy', 'matplotlib', 'pooch'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    every = commands()
    assert {("train",), ("train", "text"), ("generate",), ("resume",)} <= set(every)
    environment = {**os.environ, "COLUMNS": "100"}
    shown = subprocess.run([sys.executable, "-c", code, json.dumps(list(every))], text=True,
                           capture_output=True, env=environment)  # fmt: skip
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "\x1b" not in shown.stdout  # plain in a pipe
    pages = shown.stdout.split("@@")[1:]
    for page, (words, does) in zip(pages, every.items(), strict=True):
        assert page.split("\n")[0].split() == list(words)
        assert "Usage: plait" in page
        assert ("Example: plait " + " ".join(words) in page) == does, words


@pytest.mark.parametrize("task", TASKS)
def test_the_flags_are_the_fields_of_the_configuration(task):
    shown = plait("train", task, "--help", env={**os.environ, "COLUMNS": "400"})
    rows = dict(re.findall(r"(--[a-z0-9-]+)(?: .*?)?  +(\S.*?)\s*│", shown.stdout))
    for f in fields(config_class(task)):
        row = rows.pop("--" + f.name.replace("_", "-"))
        assert f.metadata["help"] in row
        assert (f"[default: {f.default}]" in row) == (f.default != "")
        if f.name == "cell":
            assert row.split(". ")[0].replace(" or ", ", ").split(", ") == list(CELLS)
    assert set(rows) <= {"--out", "--from", "--recipe"}


def test_without_words_it_helps(capsys):
    assert "Usage: plait COMMAND" in said(capsys)
    assert said(capsys, "--version") == f"{__version__}\n"


def test_an_interrupted_run_ends_with_130_and_goes_on(capsys, monkeypatch, tmp_path):
    path = str(tmp_path / "run")
    stops = iter([3, 5])
    stop = next(stops)

    def step(self: PlainProgress, number: int, record) -> None:
        super(PlainProgress, self).step(number, record)
        if number == stop:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(PlainProgress, "step", step, raising=False)
    train = ["train", "text", "--data", "prose.txt", "--steps", "8", "--out", path, *SMALL]
    for words in (train, ["resume", path]):
        assert run(words) == 130
        end = f"at step {stop}, saved in {path}; to go on: plait resume {path}"
        assert capsys.readouterr().err == f"plait: stopped {end}\n"
        stop = next(stops, None)
    said(capsys, "resume", path)
    assert [r["step"] for r in Run.open(Path(path)).records("train")] == list(range(1, 9))


def test_ctrl_c_from_outside(tmp_path):
    words = ["train", "text", "--data", "prose.txt", "--out", str(tmp_path / "run")]
    often = ["--steps", "20000", "--validate-every", "5", *SMALL]
    command = [sys.executable, "-m", "plait", *words, *often]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        try:
            for line in process.stdout:
                if line.startswith("step 5/"):
                    break
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    stopped = re.fullmatch(
        r"plait: stopped at step (\d+), saved in (.*); to go on: plait resume \2\n", errors
    )
    assert stopped, errors
    assert (process.returncode, stopped[2]) == (130, str(tmp_path / "run"))
    assert Run.open(tmp_path / "run").load_checkpoint()[1]["step"] == int(stopped[1]) >= 5


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_who_has_had_enough_is_no_error(unbuffered):
    """As in `plait data list | true`."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        shown = subprocess.run([sys.executable, "-m", "plait", "data", "list"], stdout=closed,
                               stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONUNBUFFERED": unbuffered})  # fmt: skip
    assert (shown.returncode, shown.stderr) == (0, "")


def test_as_a_program():
    shown = plait("generate", "ok", "--prompt", "me", "--length", "5", "--threads", "1")
    assert (shown.returncode, shown.stderr, len(shown.stdout)) == (0, "", 8)
    assert shown.stdout.startswith("me")
    shown = plait("generate", "absent")
    message = "plait: absent is not a run folder: it has no config.json\n"
    assert (shown.returncode, shown.stdout, shown.stderr) == (2, "", message)
