"""`--log tensorboard`: event files, read by TensorBoard's own reader."""

import json
import sys
from pathlib import Path

import pytest

import plait
from plait.errors import InputError
from plait.training.run import Run

pytest.importorskip("tensorboard", reason="tensorboard is not installed")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SMALL = {"problem": "recall", "length": 3, "hidden_size": 4, "batch_size": 4, "steps": 6,
         "validate_every": 2, "log": "tensorboard"}  # fmt: skip


def read(folder: Path) -> EventAccumulator:
    """Read what a folder's event files hold, as TensorBoard does, every point of it."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def points(events: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in events.Scalars(tag)]


def logged(run: Run, kind: str, name: str) -> list[tuple[int, float]]:
    return [(r["step"], pytest.approx(r[name], rel=1e-6)) for r in run.records(kind)]


def hyperparameters(events: EventAccumulator) -> dict[str, object]:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    given = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in given.items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return plait.train("memory", out=tmp_path_factory.mktemp("events") / "run", **SMALL)


def test_curves_are_those_of_the_log(run: Run) -> None:
    events = read(run.path)
    for name in ("loss", "accuracy", "gradient_norm"):
        assert points(events, f"train/{name}") == logged(run, "train", name)
    assert points(events, "validation/loss") == logged(run, "valid", "loss")
    assert points(events, "test/accuracy") == logged(run, "test", "accuracy")


def test_gradient_norms_of_parameters_make_up_the_gradient_norm(run: Run) -> None:
    events = read(run.path)
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("gradients/")]
    model = plait.load(run)
    assert tags == [f"gradients/{name}" for name, _ in model.named_parameters()]
    total = dict(points(events, "train/gradient_norm"))
    for k, step in enumerate((2, 4, 6)):
        squares = [points(events, tag)[k] for tag in tags]
        assert {s for s, _ in squares} == {step}
        assert sum(v * v for _, v in squares) ** 0.5 == pytest.approx(total[step], rel=1e-5)


def test_options_are_hyperparameters_and_the_end_is_a_success(run: Run) -> None:
    events = read(run.path)
    given = hyperparameters(events)
    assert (given["task"], given["cell"], given["hidden_size"]) == ("memory", "lstm", 4)
    assert "_hparams_/session_end_info" in events.summary_metadata


def test_a_resumed_run_has_every_point_once(run: Run, tmp_path: Path, monkeypatch) -> None:
    """The process ends at step 5 with a checkpoint at step 3, as after a power cut."""
    from plait.training import loop

    path, step, saved = tmp_path / "run", loop.Loop.step, loop.Loop._save

    def ends(self) -> None:
        step(self)
        if self.now.step == 3:
            saved(self)
        if self.now.step == 5:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "step", ends)
        with pytest.raises(RuntimeError, match="power cut"):
            plait.train("memory", out=path, **SMALL)
    assert [s for s, _ in points(read(path), "train/loss")] == [1, 2, 3, 4, 5]
    resumed = plait.resume(path)
    assert len(list(path.glob("events.out.tfevents.*"))) == 2
    events, whole = read(path), read(run.path)
    assert events.Tags()["scalars"] == whole.Tags()["scalars"]
    for tag in whole.Tags()["scalars"]:
        assert points(events, tag) == points(whole, tag)
    assert points(events, "train/loss") == logged(resumed, "train", "loss")
    before = sorted(path.iterdir())
    plait.resume(path)  # it is finished: nothing is written
    assert sorted(path.iterdir()) == before


def test_samples_are_texts_that_show_as_they_stand(tmp_path: Path) -> None:
    book = "<script>alert(1)</script> **not** `code` \x1b[31m\n" * 40
    run = plait.train("text", data=book, hidden_size=4, layers=1, steps=3, batch_size=2,
                      log="tensorboard", out=tmp_path / "run")  # fmt: skip
    events = read(run.path)
    shown = [
        bytes(e.tensor_proto.string_val[0]).decode() for e in events.Tensors("sample/text_summary")
    ]
    assert len(shown) == len(run.records("sample")) == 3
    for text, record in zip(shown, run.records("sample"), strict=True):
        assert all(line.startswith("    ") for line in text.splitlines())
        assert "\x1b" not in text
        assert text.count("\n") == len(record["text"].splitlines())


def test_the_runs_of_a_grid_are_one_experiment(tmp_path: Path) -> None:
    """TensorBoard's own server finds a session a run, and what differs between them."""
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams.backend_context import Context

    grid = plait.compare("memory", {"cell": ["rnn", "gru"]}, seeds=1, out=tmp_path / "grid",
                         **{**SMALL, "steps": 2})  # fmt: skip
    runs = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(grid.path))
    runs.Reload()
    assert sorted(runs.Runs()) == ["cell=gru,seed=0", "cell=rnn,seed=0"]
    provider = data_provider.MultiplexerDataProvider(runs, str(grid.path))
    context, asked = Context(TBContext(data_provider=provider)), RequestContext()
    metadata = context.hparams_metadata(asked, "")
    found = context.experiment_from_metadata(asked, "", True, metadata, None)
    assert [info.name for info in found.hparam_infos if info.differs] == ["cell"]
    assert "test/accuracy" in {info.name.tag for info in found.metric_infos}


def test_without_the_package_one_line_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(
        InputError, match=r"^--log tensorboard: .*; install it: pip install 'plait\[log\]'$"
    ):
        plait.train("memory", out=tmp_path / "run", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_run_can_be_loaded_without_the_package(run: Run, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert not plait.load(run).training


def test_a_run_without_a_log_has_no_event_file(tmp_path: Path) -> None:
    run = plait.train("memory", out=tmp_path / "run", **{**SMALL, "log": "none", "steps": 1})
    assert list(run.path.glob("events*")) == []
    assert json.loads((run.path / "config.json").read_text())["config"]["log"] == "none"
