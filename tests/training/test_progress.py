"""What a person is shown: numbers that are right, and a text as it is."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from plait.training import progress as module
from plait.training.progress import LiveProgress, PlainProgress, Progress, progress_for

ANNOUNCED = ("plait text", {"text": "book [1] [bold]x[/bold]", "run folder": "runs/[red]a"})


@pytest.fixture
def clock(monkeypatch):
    """Time stands still, unless `clock.now` is moved."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def announce(progress: Progress, step: int = 0, records=()) -> None:
    progress.announce(*ANNOUNCED, steps=4000, rate=1920, unit="characters")
    progress.start(step, 0.0, list(records))


def test_speed_time_left_and_averages(clock):
    progress = Progress()
    announce(progress, step=1000)
    for step in range(1001, 1251):
        progress.step(step, {"loss": float(step), "accuracy": 0.5})
    clock.now += 50.0
    assert progress.speed() == pytest.approx(1920 * 250 / 50)  # of this session alone
    assert progress.seconds_left() == pytest.approx((4000 - 1250) / (250 / 50))
    assert progress.averages() == {"loss": sum(range(1151, 1251)) / 100, "accuracy": 0.5}


def test_plain_lines(clock):
    stream = io.StringIO()
    progress = PlainProgress(stream)
    announce(progress)
    with progress:
        progress.step(1, {"loss": 3.0, "gradient_norm": 9.0, "bits_per_character": 4.0})
        progress.step(2, {"loss": 2.0, "gradient_norm": 9.0, "bits_per_character": 2.0})
        clock.now += 0.5
        progress.validated(2, {"loss": 2.25, "bits_per_character": 3.25}, best=True)
        progress.sampled(2, "[bold] a\nb")
        progress.validated(2, {"loss": 2.25}, best=False)
        progress.tested(2, {"bits_per_character": 1.0, "ngram_order": 1234})
        progress.notice("mind [this]")
    assert stream.getvalue() == (
        "plait text\n"
        "  text: book [1] [bold]x[/bold]\n"
        "  run folder: runs/[red]a\n"
        "step 2/4000: training loss 2.5000, bits per character 3.0000; validation loss 2.2500, "
        "bits per character 3.2500 (best); 7,680 characters/s, 16:40 left\n"
        "--- it writes, at step 2:\n[bold] a\nb\n---\n"
        "step 2/4000: training loss 2.5000, bits per character 3.0000; validation loss 2.2500; "
        "7,680 characters/s, 16:40 left\n"
        "test, with the weights of step 2: bits per character 1.0000, ngram order 1,234\n"
        "mind [this]\n"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"),
     (90061, "25:01:01")],
)  # fmt: skip
def test_a_time_to_read(seconds, shown):
    assert module._clock(seconds) == shown


@pytest.fixture
def live(clock):
    console = Console(force_terminal=True, file=io.StringIO(), width=100, color_system=None)
    progress = LiveProgress(console)
    announce(progress)
    return progress


def rendered(progress: LiveProgress) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(progress._render())
    return console.file.getvalue()


def test_the_live_panel_shows_steps_scores_and_the_sample(live, clock):
    with live:
        for step in range(1, 1201):
            live.step(step, {"loss": 2.5, "gradient_norm": 77.0, "bits_per_character": 3.5})
        clock.now += 60.0
        live.validated(1200, {"bits_per_character": 3.75, "perplexity": 13.0}, best=True)
        live.sampled(1100, "And [bold]so[/bold] [1] [/red] on")
        shown = rendered(live)
        live.tested(1200, {"bits_per_character": 3.125})
        live.notice("mind [this]")
    assert "1,200/4,000 steps" in shown
    assert "38,400 characters/s" in shown
    assert "2:20 left" in shown
    header, training, validation = (line.split() for line in shown.splitlines()[1:4])
    assert header == ["loss", "bits", "per", "character"]
    assert training[-2:] == ["2.5000", "3.5000"]
    assert "77.0000" not in shown
    assert validation == ["validation,", "step", "1,200", "3.7500"]
    assert "it writes, at step 1,100" in shown
    assert "And [bold]so[/bold] [1] [/red] on" in shown
    written = live.console.file.getvalue()
    for text in ("book [1] [bold]x[/bold]", "runs/[red]a", "mind [this]", "1,200/4,000 steps"):
        assert text in written
    *_, test = (line.split() for line in written.splitlines() if line.startswith("test"))
    assert test == ["test,", "weights", "of", "step", "1,200", "3.1250"]


def test_a_long_sample_of_any_characters_fits_into_the_panel(live):
    text = "lines\nof 漢字 \t and a long one " + "x" * 300
    with live:
        live.step(1, {"loss": 1.0})
        live.sampled(1, text)
        lines = rendered(live).splitlines()
    assert sum(line.count("x") for line in lines) == 300
    assert max(map(len, lines)) <= 100


def test_before_the_first_step_it_promises_nothing(live):
    assert "0/4,000 steps" in rendered(live)
    assert "left" not in rendered(live)
    valid = {"step": 500, "kind": "valid", "seconds": 9.0, "bits_per_character": 2.75}
    live.start(600, 9.0, [{"step": 500, "kind": "train"}, valid])
    shown = rendered(live)
    assert "600/4,000 steps" in shown  # a run that goes on: no speed yet, so no time
    assert "left" not in shown
    live.step(601, {"bits_per_character": 3.0})
    shown = rendered(live)
    assert "validation, step 500" in shown
    assert "2.7500" in shown


def test_a_terminal_gets_the_panel_and_a_pipe_the_lines(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    pipe = io.StringIO()
    assert type(progress_for(pipe)) is PlainProgress
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    assert type(progress_for(terminal)) is LiveProgress
