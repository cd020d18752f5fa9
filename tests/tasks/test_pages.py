"""What the pages of the tasks show is what their models say."""

from pathlib import Path

import numpy as np
import pytest
import torch

import plait
from plait.diagnostics import gradient_flow
from plait.errors import InputError
from plait.nn.graph import Graph
from plait.pages import Page
from plait.tasks import page_of
from plait.tasks.forecast.task import ForecastTask
from plait.tasks.memory.problems import problem_named
from plait.tasks.memory.scores import PROBE, draw
from plait.tasks.nodes.task import NodesTask
from plait.training.run import Run


def opened(run: Run) -> tuple[Page, torch.nn.Module, object]:
    from plait.tasks import config_class

    model, config = plait.load(run), config_class(run.task).from_dict(run.config)
    return page_of(run.task, model, config, run.facts), model, config


@torch.no_grad()
def shown(page: Page, **values) -> dict[str, list[dict]]:
    """Return the blocks of an answer by their place."""
    places: dict[str, list[dict]] = {}
    for block in page.answer(**page.read(values)):
        places.setdefault(block["to"], []).append(block)
    return places


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_text_has_the_probabilities_and_states_of_its_model(tmp_path: Path, cell: str) -> None:
    run = plait.train("text", data="abc abd\n" * 40, cell=cell, hidden_size=6, layers=2, steps=2,
                      batch_size=2, out=tmp_path / "run")  # fmt: skip
    page, model, _ = opened(run)
    given = {"prompt": "ab", "length": 9, "beta": 2.0, "top_k": 3, "seed": 4, "layer": "1"}
    symbols = [s for b in shown(page, **given)["sampled"] for s in b["symbols"]]
    text = model.generate("ab", 9, beta=2.0, top_k=3, seed=4)
    assert "".join(s["text"] for s in symbols) == text
    numbers = torch.from_numpy(model.vocabulary.encode(text))[:, None]
    with torch.no_grad():
        logits = torch.cat([model.first_logits(1)[None], model(numbers)[0]])[:-1, 0].double()
    p = logits.softmax(-1)
    for k, symbol in enumerate(symbols):
        assert symbol["p"] == pytest.approx(float(p[k, numbers[k, 0]]), abs=1e-4)
        best = p[k].argmax()
        assert symbol["likeliest"][0][0] == model.vocabulary.decode([int(best)])
        assert symbol["given"] == (k < 2)
        if k >= 2:
            drawn = plait.sampling.Sampling.of(beta=2.0, top_k=3).probabilities(logits[[k]])[0]
            assert symbol["q"] == pytest.approx(float(drawn[numbers[k, 0]]), abs=1e-4)
    x, h = torch.nn.functional.embedding(numbers, model.table()), []
    for t in range(len(numbers)):
        _, state = model.recurrent(x[: t + 1])
        h.append((state if isinstance(state, torch.Tensor) else state[0])[0, 0])
    seen = np.array([s["cells"] for s in symbols])
    assert np.abs(seen - 100 * torch.stack(h).detach().numpy()).max() <= 0.51


def test_a_node_has_its_labels_and_what_each_neighbour_changes(tmp_path: Path) -> None:
    run = plait.train("nodes", data="karate", steps=10, out=tmp_path / "run")
    page, model, config = opened(run)
    found = shown(page, node="8")
    task = NodesTask.restore(model, config, run.facts)
    with torch.no_grad():
        p = model(task.x, task.graph).double().softmax(-1)[8]
        mixed = task.answers().exp()[8].tolist()
    best = int(p.argmax())
    labels = dict(found["labels"][0]["rows"])
    assert labels == pytest.approx(dict(zip(task.network.classes, mixed, strict=True)))
    edges = task.graph.edge_index.T.tolist()
    why = {name: change for name, _, change in found["why"][0]["rows"]}
    assert set(why) == {str(v) for u, v in edges if u == 8}
    for name, change in why.items():
        pair = {8, int(name)}
        kept = torch.tensor([set(e) != pair for e in edges])
        assert int(kept.sum()) == len(edges) - 2
        index, weight = task.graph.edge_index[:, kept], task.graph.edge_weight[kept]
        with torch.no_grad():
            without = model(task.x, Graph(index, weight, 34)).double().softmax(-1)[8]
        assert change == pytest.approx(float(without[best] - p[best]), abs=1e-6)
    with pytest.raises(InputError, match="there is no node 'x'"):
        shown(page, node="x")


def test_links_are_those_that_are_suggested(tmp_path: Path) -> None:
    run = plait.train("links", data="karate", steps=5, out=tmp_path / "run")
    found = shown(opened(run)[0], node="33", top=4)
    table = plait.api.predictions(run, node="33", top=4)
    assert [row[0] for row in found["suggestions"][0]["rows"]] == list(table["suggestion"])
    graph = found["graph"][0]
    ends = [graph["names"][v] for _, v in graph["dashed"]]
    assert ends == list(table["suggestion"])
    assert {graph["names"][u] for u, _ in graph["dashed"]} == {"33"}


def test_a_forecast_stands_next_to_what_came_and_a_baseline(tmp_path: Path) -> None:
    t = np.arange(300)
    values = np.stack([np.sin(t / 5 + k) for k in range(3)], 1)
    rows = "\n".join(",".join(f"{v:.6f}" for v in row) for row in values)
    run = plait.train("forecast", data=f"a,b,c\n{rows}\n", operator="dense", steps=3, history=6,
                      horizon=3, hidden_size=4, coverage=0.8, out=tmp_path / "run")  # fmt: skip
    page, model, config = opened(run)
    block = shown(page, nodes=["c"], place=1, baseline="last value")["node c"][0]
    task = ForecastTask.restore(model, config, run.facts)
    begin, series = task.splits.test, task.data.series.values[:, 2]
    assert block["x"] == list(range(begin - 6, begin + 3))
    lines = {line["name"]: line["values"] for line in block["lines"]}
    assert lines["history"] == [*series[begin - 6 : begin], None, None, None]
    assert lines["true values"] == [None] * 5 + [*series[begin - 1 : begin + 3]]
    assert lines["last value"] == [None] * 6 + [series[begin - 1]] * 3
    whole = task.tested
    assert lines["forecast"][6:] == pytest.approx(whole.middle[:, 0, 2].tolist(), rel=1e-5)
    low, high = task._bands(whole)
    assert block["band"]["low"][6:] == pytest.approx(low[:, 0, 2].tolist(), rel=1e-5)
    assert block["band"]["high"][6:] == pytest.approx(high[:, 0, 2].tolist(), rel=1e-5)


def test_memory_shows_how_far_its_gradient_reaches(tmp_path: Path) -> None:
    run = plait.train("memory", problem="recall", length=5, hidden_size=4, steps=2,
                      out=tmp_path / "run")  # fmt: skip
    page, model, _ = opened(run)
    found = shown(page, seed=3)
    x, y = draw(problem_named("recall", 5), 3, 0, PROBE, 32, torch.device("cpu"))
    (layer,) = gradient_flow(model, (x, y)).layers
    lines = {line["name"]: line["values"] for line in found["flow layer 0"][0]["lines"]}
    assert set(lines) == {"with respect to h", "with respect to c"}
    for state, norms in layer.norms.items():
        assert lines[f"with respect to {state}"] == pytest.approx(norms.tolist(), rel=1e-12)
    rows = found["sequences"][0]["rows"]
    assert [row[0].split()[0] for row in rows] == [str(v) for v in x[0, :8].tolist()]
    assert [row[1] for row in rows] == [str(v) for v in y[:8].tolist()]
