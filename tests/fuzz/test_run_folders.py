"""A run folder whose own files were edited by hand is used, or refused in one line."""

import contextlib
import copy
import json
import random
import shutil

import pytest

import plait
from plait.errors import InputError
from plait.training.run import Run

OTHERS = [None, True, -1, 0, 1.5, 10**30, "", "x", [], ["a"], [[1, "b"]], {}, {"a": 1}]
TINY = {
    "text": {"data": "python-docs", "hidden_size": 4, "embedding_size": 4, "layers": 1},
    "links": {"data": "karate", "hidden_size": 4, "embedding_size": 4, "operator": "gcn"},
    "memory": {"problem": "recall", "length": 3, "hidden_size": 4, "embedding_size": 4},
    "scenes": {"scenes": 12, "hidden_size": 4, "layers": 1, "operator": "dense"},
    "structure": {"nodes": 12, "hidden_size": 4, "layers": 1},
    "visits": {"patients": 20, "hidden_size": 4, "graph_layers": 1, "view": "sequence"},
}


def edited(rng, value):
    """Put another value somewhere into JSON, or take something away."""
    value = copy.deepcopy(value)
    at, parent, key = value, None, None
    while isinstance(at, (dict, list)) and at and (parent is None or rng.random() < 0.7):
        parent, key = at, rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
        at = parent[key]
    if rng.random() < 0.2:
        del parent[key]
    else:
        parent[key] = rng.choice(OTHERS)
    return value


@pytest.fixture(scope="module", params=TINY)
def trained(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / request.param
    return plait.train(request.param, out=path, steps=1, device="cpu", **TINY[request.param])


def try_edits(trained, folder, cases):
    shutil.copytree(trained.path, folder)
    whole = json.loads((folder / "config.json").read_text())
    rng, refused = random.Random(0), 0
    for _ in range(cases):
        content = edited(rng, whole)
        (folder / "config.json").write_text(json.dumps(content))
        try:
            plait.load(folder)
        except InputError:
            refused += 1
        except Exception as error:
            reported = {k: v for k, v in content.items() if v != whole.get(k)}
            raise AssertionError(f"{str(reported)[:2000]}: {error!r}") from error
    return refused


def test_an_edited_configuration_is_used_or_refused(trained, tmp_path):
    assert 10 < try_edits(trained, tmp_path / "run", 200) <= 200


@pytest.mark.slow
def test_very_many_edited_configurations_are_used_or_refused(trained, tmp_path):
    assert try_edits(trained, tmp_path / "run", 20_000) > 1000


def test_a_wrong_type_is_refused_by_every_command(trained, tmp_path):
    shutil.copytree(trained.path, tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    whole = json.loads(file.read_text())
    for name in whole["facts"]:
        for other in (7, "x", None):
            facts = whole["facts"] | {name: other}
            file.write_text(json.dumps(whole | {"facts": facts}))
            for command in (plait.score, plait.resume):
                with contextlib.suppress(InputError):
                    command(tmp_path / "run")


@pytest.mark.parametrize(
    "line", ['{"step": "1", "kind": "train"}', '{"step": true, "kind": "x"}', "[1]", '"step"',
             '{"step": 1, "kind": ["a"]}', '{"step": null, "kind": "x"}'],
)  # fmt: skip
def test_a_line_of_the_log_that_is_none_is_named(tmp_path, line):
    run = Run(tmp_path, "text", {}, {})
    (tmp_path / "metrics.jsonl").write_text(line + '\n{"step": 1, "kind": "valid"}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 1: damaged$"):
        run.records()
