"""Output to terminals of any encoding, which no text can steer."""

import io
import sys
from pathlib import Path

import pytest

import plait
from plait.cli import main
from plait.tasks.text.writing import LONG
from plait.terminal import printable, show, tolerate_encodings
from plait.training.progress import LiveProgress, progress_for

TINY = {"hidden_size": 4, "embedding_size": 4, "layers": 1, "length": 5, "batch_size": 4,
        "steps": 2, "threads": 1, "device": "cpu"}  # fmt: skip
TEXT = "naïve … 北京 √ \x1b[31mred ok\n" * 40


class Terminal(io.TextIOWrapper):
    """A stream of an encoding that may be a terminal."""

    def __init__(self, encoding: str, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="\n")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def content(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "β√ñ.txt").write_text(TEXT, "utf-8")
    return tmp_path


def typed(monkeypatch, stream: Terminal, *words: str) -> str:
    """What a command that succeeds prints."""
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", Terminal(stream.encoding))
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert (ended.value.code, sys.stderr.content()) == (0, "")
    return stream.content()


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "shift_jis", "utf-8"])
def test_no_encoding_stops_a_training_help_or_generated_text(
    home, monkeypatch, encoding, terminal
) -> None:
    def stream() -> Terminal:
        return Terminal(encoding, terminal=terminal)

    small = [word for k, v in TINY.items() for word in (f"--{k.replace('_', '-')}", str(v))]
    said = typed(monkeypatch, stream(), "train", "text", "--data", "β√ñ.txt", "--out", "r√", *small)
    assert said.endswith("saved in r√\n".encode(encoding, "backslashreplace").decode(encoding))
    assert "β√ñ".encode(encoding, "backslashreplace").decode(encoding) in said or terminal
    assert "--beta" in typed(monkeypatch, stream(), "generate", "--help")
    text = typed(monkeypatch, stream(), "generate", "r√", "--prompt", "北京 √", "--length", "9")
    assert text.startswith("北京 √".encode(encoding, "backslashreplace").decode(encoding))
    assert "saved in" not in typed(monkeypatch, stream(), "data", "list")


def test_generated_text_is_shown_on_a_terminal_and_raw_in_a_pipe(home, monkeypatch) -> None:
    plait.train("text", data="β√ñ.txt", out="run", **TINY)
    words = ["generate", "run", "--prompt", "\x1b[31m", "--length", "0"]
    assert typed(monkeypatch, Terminal("utf-8", terminal=True), *words) == "\\x1b[31m\n"
    assert typed(monkeypatch, Terminal("utf-8"), *words) == "\x1b[31m\n"
    streamed = [*words, "--stream"]
    assert typed(monkeypatch, Terminal("utf-8", terminal=True), *streamed) == "\\x1b[31m\n"


def test_a_long_text_is_printed_while_it_is_written(home, monkeypatch) -> None:
    plait.train("text", data="β√ñ.txt", out="run", **TINY)
    expected = plait.load("run").generate("na", 300, seed=2)
    monkeypatch.setattr("plait.tasks.text.writing.LONG", 299)
    words = ["generate", "run", "--prompt", "na", "--length", "300", "--seed", "2"]
    written: list[str] = []
    monkeypatch.setattr("plait.cli.writing.show", lambda text="", end="\n": written.append(text))
    typed(monkeypatch, Terminal("utf-8"), *words)
    assert "".join(written) == expected + "\n"
    assert max(map(len, written)) == 64
    assert LONG > 10_000


def test_what_steers_a_terminal_becomes_visible() -> None:
    steering = "a\x1b[2Jb\x07c\x9bd\u202ee\x7f\r"
    assert printable(steering) == "a\\x1b[2Jb\\x07c\\x9bd\\u202ee\\x7f\\x0d"
    kept = "tab\there\nnew line, ñ 漢字 🙂 ‖"
    assert printable(kept) == kept
    assert printable("half \udcff") == "half \\udcff"


def test_a_closed_or_foreign_stream_is_left_alone() -> None:
    closed = Terminal("ascii")
    closed.close()
    tolerate_encodings(closed, io.StringIO())
    into = io.StringIO()
    show("\x1b", into)
    assert into.getvalue() == "\x1b\n"


def test_names_of_files_in_a_refusal_steer_nothing(home, monkeypatch, capsys) -> None:
    from plait.cli import run

    assert run(["generate", "a\x1b[31mb"]) == 2
    assert capsys.readouterr().err.startswith("plait: a\\x1b[31mb is not a run folder")
    assert isinstance(progress_for(Terminal("ascii", terminal=True)), LiveProgress)
