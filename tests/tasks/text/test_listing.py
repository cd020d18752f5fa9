"""The report's listings: layout, steps in order, accuracy over the hundred batches before."""

import shutil
import statistics

import pytest

import plait
from plait.api import load_kept
from plait.cli import run as run_command
from plait.tasks.text import task
from plait.tasks.text.listing import WINDOW, listing

TINY = {
    "hidden_size": 8, "embedding_size": 4, "layers": 1, "length": 10, "batch_size": 4,
    "threads": 1, "device": "cpu",
}  # fmt: skip


class Written:
    """Writes what it was asked for."""

    def __init__(self, name: str) -> None:
        self.name = name

    def generate(self, prompt: str, length: int, **options) -> str:
        return f"{prompt}|{self.name}|{length}|{sorted(options.items())}"


def test_the_layout_is_the_report_s():
    models = {3000: Written("c"), 1000: Written("a"), 50: Written("b")}
    accuracy = [step / 10_000 for step in range(1, 3001)]
    lines = list(listing(models, accuracy, ["It was", " "], 7, beta=2.0))
    asked = "7|[('beta', 2.0)]"
    first = statistics.mean(accuracy[:50])  # fewer than a hundred batches
    others = [statistics.mean(accuracy[step - WINDOW : step]) for step in (1000, 3000)]
    assert lines == [
        "Original text: It was",
        f"Train Step: 0050/3000, Accuracy: {first:.2f}, Text: It was|b|{asked}",
        f"Train Step: 1000/3000, Accuracy: {others[0]:.2f}, Text: It was|a|{asked}",
        f"Train Step: 3000/3000, Accuracy: {others[1]:.2f}, Text: It was|c|{asked}",
        "---",
        "Original text: ' '",
        f"Train Step: 0050/3000, Accuracy: {first:.2f}, Text:  |b|{asked}",
        f"Train Step: 1000/3000, Accuracy: {others[0]:.2f}, Text:  |a|{asked}",
        f"Train Step: 3000/3000, Accuracy: {others[1]:.2f}, Text:  |c|{asked}",
        "---",
    ]
    assert (f"{first:.2f}", *(f"{a:.2f}" for a in others)) == ("0.00", "0.10", "0.30")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("listing")
    (folder / "a.txt").write_text("to be or not to be, that is the question. " * 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "SAMPLE_LENGTH", 20)
        return plait.train("text", data=str(folder / "a.txt"), out=folder / "run", steps=6, **TINY)


def test_a_run_lists_what_its_kept_weights_write(run, capsys):
    words = ["generate", str(run.path), "--listing", "--length", "30", "--beta", "3", "--seed", "4"]
    assert run_command([*words, "--prompt", "to be", "--prompt", "not"]) == 0
    lines = capsys.readouterr().out.splitlines()
    models = load_kept(run)
    accuracy = [r["accuracy"] for r in run.records("train")]
    expected = []
    for prompt in ("to be", "not"):
        expected.append(f"Original text: {prompt}")
        for step in (2, 4, 6):
            text = models[step].generate(prompt, 30, beta=3, seed=4)
            mean = statistics.mean(accuracy[:step])
            expected.append(f"Train Step: {step}/6, Accuracy: {mean:.2f}, Text: {text}")
        expected.append("---")
    assert lines == expected


def test_a_run_has_its_thirds_and_its_sixths_or_what_it_kept_of_them(run, tmp_path):
    assert list(load_kept(run)) == [2, 4, 6]
    assert list(load_kept(run, parts=6)) == [1, 2, 3, 4, 5, 6]
    earlier = shutil.copytree(run.path, tmp_path / "earlier")  # a version that kept thirds
    for step in (1, 3, 5):
        (earlier / "kept" / f"step-{step:08d}.safetensors").unlink()
    assert list(load_kept(earlier, parts=6)) == list(load_kept(earlier)) == [2, 4, 6]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stop", "x"], "--listing writes one text to its end; leave out --count and --stop"),
        (["--count", "2"], "--listing writes one text to its end; leave out --count and --stop"),
        (["--beams", "2"], "give one of --listing and --beams"),
        (["--stream"], "give one of --stream and --listing"),
        (["--prompt", "§"], "the model has never seen '§'"),
    ],
)
def test_what_does_not_go_with_a_listing_is_reported(run, capsys, words, message):
    assert run_command(["generate", str(run.path), "--listing", *words]) == 2
    assert capsys.readouterr().err.startswith(f"plait: {message}")


def test_before_a_third_there_is_nothing_to_list(run, capsys):
    for path in (run.path / "kept").iterdir():
        path.unlink()
    assert run_command(["generate", str(run.path), "--listing"]) == 2
    errors = capsys.readouterr().err
    assert (
        errors
        == f"plait: {run.path} has kept no weights yet; train it further: plait resume {run.path}\n"
    )
