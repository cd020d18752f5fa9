"""Layers in the training loops of others: Lightning, and the contract of Hugging Face's Trainer."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from plait import GRU, Recurrent

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "others.md"


def code_of(title: str) -> str:
    return PAGE.read_text("utf-8").split(f'```python title="{title}"\n')[1].split("```")[0]


@pytest.mark.slow
def test_lightning_trains_saves_and_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that it imports
        pytest.importorskip("lightning")
        monkeypatch.chdir(tmp_path)
        names: dict[str, Any] = {}
        exec(compile(code_of("lightning_tagger.py"), "lightning_tagger.py", "exec"), names)
    x = names["x"]
    with torch.no_grad():
        assert torch.equal(names["again"](x), names["tagger"](x))
    assert names["trainer"].global_step == 8
    first = names["Tagger"]().layer.state_dict()
    assert first.keys() == names["again"].layer.state_dict().keys()


def test_a_loop_as_hugging_faces_learns_and_goes_on_from_what_it_saved(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(compile(code_of("hf_tagger.py"), "hf_tagger.py", "exec"), names)

    def trained(model: torch.nn.Module, steps: int) -> list[float]:
        optimizer, losses = torch.optim.AdamW(model.parameters(), 1e-2), []
        for _ in range(steps):  # what Trainer's training_step does
            outputs = model.train()(**names["batch"])
            loss = outputs["loss"] if isinstance(outputs, dict) else outputs[0]
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            model.zero_grad()
            losses.append(float(loss.detach()))
        return losses

    model = names["Classifier"](5, 2)
    losses = trained(model, 20)
    assert losses[-1] < 0.5 * losses[0]
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    other = names["Classifier"](5, 2)
    other.load_state_dict(torch.load(tmp_path / "pytorch_model.bin", weights_only=True))
    inputs = {k: v for k, v in names["batch"].items() if k != "labels"}
    with torch.no_grad():
        assert torch.equal(other.eval()(**inputs)["logits"], model.eval()(**inputs)["logits"])


def test_names_in_a_state_dict_are_those_of_the_page() -> None:
    names = set(Recurrent(GRU(), 3, 4).state_dict())
    assert names == {
        "directions.0.inputs.weight",
        "directions.0.recurrent.weight",
        "directions.0.bias",
        "directions.0.recurrent_bias",
    }
