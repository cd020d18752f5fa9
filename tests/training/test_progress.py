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
        clock.now += 9.9
        progress.validated(2, {"loss": 2.5}, best=False)  # too soon for a line of its own
        clock.now += 0.1
        progress.validated(2, {"loss": 2.25}, best=False)
        progress.working("scoring the test set")
        progress.tested(2, {"bits_per_character": 1.0, "ngram_order": 1234})
        progress.notice("mind [this]")
    assert stream.getvalue() == (
        "plait text\n"
        "  text: book [1] [bold]x[/bold]\n"
        "  run folder: runs/[red]a\n"
        "step 2/4000: training loss 2.5000, bits per character 3.0000; validation loss 2.2500, "
        "bits per character 3.2500 (best); 7,680 characters/s, 16:40 left\n"
        "--- sample at step 2:\n[bold] a\nb\n---\n"
        "step 2/4000: training loss 2.5000, bits per character 3.0000; validation loss 2.2500; "
        "366 characters/s, 5:49:50 left\n"
        "scoring the test set …\n"
        "test, with the weights of step 2: bits per character 1.0000, ngram order 1,234\n"
        "mind [this]\n"
    )


def test_validations_that_follow_fast_have_ten_lines(clock):
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress.announce("plait nodes", {}, steps=200, rate=1, unit="nodes")
    progress.start(0, 0.0, [])
    for step in range(1, 201):
        progress.step(step, {"loss": 1.0})
        clock.now += 0.01
        if step % 5 == 0:
            progress.validated(step, {"loss": 1.0}, best=False)
    lines = [line.split("/")[0] for line in stream.getvalue().splitlines()[1:]]
    assert lines == [f"step {step}" for step in (5, *range(20, 201, 20))]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"),
     (90061, "25:01:01")],
)  # fmt: skip
def test_a_time_to_read(seconds, shown):
    assert module.as_clock(seconds) == shown


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
    assert "sample at step 1,100" in shown
    assert "And [bold]so[/bold] [1] [/red] on" in shown
    written = live.console.file.getvalue()
    for text in ("book [1] [bold]x[/bold]", "runs/[red]a", "mind [this]", "1,200/4,000 steps"):
        assert text in written
    *_, test = (line.split() for line in written.splitlines() if line.startswith("test"))
    assert test == ["test,", "weights", "of", "step", "1,200", "3.1250"]
    assert written.index("mind [this]") > written.rindex("test, weights")


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


SCORES = {"loss": 1.0, "mean_absolute_error": 2.0, "root_mean_square_error": 3.0, "mape": 4.0,
          "coverage_of_the_quantiles": 5.0}  # fmt: skip


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_scores_fit_into_any_terminal(clock, width):
    console = Console(force_terminal=True, file=io.StringIO(), width=width, color_system=None)
    progress = LiveProgress(console)
    announce(progress)
    with progress:
        progress.step(1, SCORES)
        progress.validated(1, SCORES, best=True)
        progress.tested(1, SCORES)
        shown = Console(file=io.StringIO(), width=width, color_system=None)
        shown.print(progress._scores())
    lines = shown.file.getvalue().splitlines()
    numbers = [f"{value:.4f}" for value in SCORES.values()]
    if width == 200:
        assert [line.split()[-5:] for line in lines[-3:]] == [numbers] * 3
    else:
        rows = [line.split()[-3:] for line in lines if line.count("0000") == 3]
        assert rows == [[number] * 3 for number in numbers]
    assert max(map(len, lines)) <= width


def test_what_takes_a_while_is_said_in_place_of_the_time_left(live, clock):
    with live:
        live.step(1, {"loss": 1.0})
        clock.now += 1.0
        assert "left" in rendered(live)
        live.working("scoring the test set")
        assert "scoring the test set …" in rendered(live)
        assert "left" not in rendered(live)
        live.tested(1, {"loss": 1.0})
        assert "scoring" not in rendered(live)


def test_what_would_steer_the_terminal_is_shown(clock):
    console = Console(force_terminal=True, file=io.StringIO(), width=100, color_system=None)
    progress = LiveProgress(console)
    progress.announce("plait text", {"text": "a\x1b[2J.txt"}, steps=1, rate=1, unit="characters")
    progress.start(0, 0.0, [])
    with progress:
        progress.notice("b\x1b]0;title\x07")
        progress.sampled(0, "c\x1b[31m\u202ed")
        progress.step(1, {"loss": 1.0})
    written = console.file.getvalue()
    for text in (r"a\x1b[2J.txt", r"b\x1b]0;title\x07", r"c\x1b[31m\u202ed"):
        assert text in written
    for mark in ("\x1b[2J", "\x1b]0", "\x1b[31m", "\x07", "\u202e"):
        assert mark not in written


def test_a_line_stays_free_for_what_the_terminal_echoes(live):
    with live:
        live.step(1, {"loss": 1.0})
        live.sampled(1, "text")
        shown = Console(file=io.StringIO(), width=100, color_system=None)
        shown.print(live.live.get_renderable(), end="")
    assert shown.file.getvalue().endswith("╯\n\n")
    assert not rendered(live).endswith("╯\n\n")
