"""Which runs a grid has, and what is refused before anything is written."""

import json

import pytest

from plait.comparison.grid import Grid, read_seeds, read_vary
from plait.errors import InputError
from plait.tasks.memory.published import published_steps

LENGTHS = {"length": (4, 5)}


def grid(tmp_path, vary=LENGTHS, seeds=2, recipe=None, **options) -> Grid:
    return Grid.of("memory", tmp_path / "grid", vary, seeds, recipe, options)


def test_every_value_comes_before_the_next_seed(tmp_path):
    plans = grid(tmp_path, {"cell": ("lstm", "gru"), "length": (4, 5)}, seeds=2).plans
    assert [p.path.name for p in plans] == [
        f"cell={cell},length={length},seed={seed}"
        for seed in (0, 1)
        for cell in ("lstm", "gru")
        for length in (4, 5)
    ]
    assert [(p.config.cell, p.config.length, p.config.seed) for p in plans[-2:]] == [
        ("gru", 4, 1),
        ("gru", 5, 1),
    ]


def test_a_recipe_s_settings_follow_the_varied_values(tmp_path):
    plans = grid(tmp_path, {"cell": ("lstm", "gru-course"), "length": (4, 5, 6)}, 3, "report").plans
    assert [p.config.steps for p in plans[:6]] == [3000, 2000, 1000, 1000, 1000, 1000]
    assert sorted({p.seed for p in plans}) == [2019, 2020, 2021]
    assert {p.config.hidden_size for p in plans} == {256}


def test_values_are_read_by_the_fields_types():
    texts = ["cell=lstm,gru", "hidden-size=8, 16", "lr=1e-3", "bidirectional=true,maybe"]
    with pytest.raises(InputError, match="'maybe' is neither true nor false"):
        read_vary(texts, "memory")
    texts[-1] = "bidirectional=true,False"
    assert read_vary(texts, "memory") == {
        "cell": ("lstm", "gru"),
        "hidden_size": (8, 16),
        "lr": (0.001,),
        "bidirectional": (True, False),
    }
    assert read_seeds("2019,") == (2019,)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["cell"], "--vary cell: write FIELD=VALUE,VALUE"),
        (["=4"], "no option named '' to vary"),
        (["length=4,five"], "--vary length: 'five' is not a whole number"),
        (["length=4,5.5"], "--vary length: '5.5' is not a whole number"),
        (["lr=0.1,fast"], "--vary lr: 'fast' is not a number"),
        (["lr=nan"], "--lr must be a finite number, not nan"),
        (["length="], "--vary length=: write FIELD=VALUE,VALUE"),
        (["length=4,"], "--vary length=4,: a value is missing at a comma"),
        (["cell=,"], "--vary cell=,: a value is missing at a comma"),
        (["threads=1,2"], "--vary threads is not possible; give --threads and --jobs"),
        (["problem=adding,recal"], "--problem must be baum-sweet or .*, not 'recal'"),
        (["length=4", "length=5"], "--vary length is given twice"),
        (["length=4,4"], "--vary length has 4 twice"),
        (["lenght=4,5"], "no option named 'lenght' to vary; there are steps, lr, "),
        (["seed=1,2"], "--vary seed is not possible; give --seeds"),
        (["hidden_size=8"], "hidden_size is varied; leave --hidden-size out"),
        (["cell=lstm", "steps=0,5"], "--steps must be at least 1, not 0"),
        (["length=4,19"], "baum-sweet has lengths from 2 to 18, not 19"),
        ([], "nothing varies; give --vary"),
    ],
)
def test_what_cannot_vary_is_refused(tmp_path, texts, message):
    with pytest.raises(InputError, match=message):
        grid(tmp_path, read_vary(texts, "memory"), hidden_size=8)


@pytest.mark.parametrize("seeds", ["0", "-1", "x", "1,1", "1;2"])
def test_seeds_that_are_none(tmp_path, seeds):
    with pytest.raises(InputError, match="--seeds"):
        grid(tmp_path, seeds=read_seeds(seeds))


def test_the_same_grid_is_found_again_whatever_the_threads(tmp_path):
    grid(tmp_path, lr=0.001).claim()
    before = (tmp_path / "grid" / "grid.json").read_bytes()
    grid(tmp_path, threads=2).claim()  # 0.001 is the default
    assert (tmp_path / "grid" / "grid.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vary": {"length": (4, 6)}}, "vary is length=4,5 there, length=4,6 here"),
        ({"seeds": 3}, "seeds is 0,1 there, 0,1,2 here"),
        ({"lr": 0.01}, r"lr is 0.001 there, 0.01 here \(length=4,seed=0\)"),
        ({"recipe": "report", "seeds": (0, 1)}, "lr is 0.001 there, 0.0001 here|cell|hidden"),
    ],
)
def test_another_grid_s_folder_is_refused_and_left_alone(tmp_path, change, message):
    grid(tmp_path).claim()
    before = (tmp_path / "grid" / "grid.json").read_bytes()
    with pytest.raises(InputError, match=rf"holds another grid: .*({message})"):
        grid(tmp_path, **change).claim()
    assert (tmp_path / "grid" / "grid.json").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [("[]", "damaged"), ("{", "damaged"), ('{"format": 99}', "of a newer Plait")],
)
def test_a_damaged_grid_is_refused(tmp_path, content, message):
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "grid.json").write_text(content)
    with pytest.raises(InputError, match=message):
        grid(tmp_path).claim()


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is no grid"):
        grid(tmp_path).claim()
    assert [p.name for p in (tmp_path / "grid").iterdir()] == ["thesis.txt"]


def test_settings_are_plain_json(tmp_path):
    made = grid(tmp_path, {"bidirectional": (False, True)})
    made.claim()
    there = json.loads((tmp_path / "grid" / "grid.json").read_text())
    assert there["vary"] == {"bidirectional": [False, True]}
    assert there["runs"]["bidirectional=True,seed=1"]["bidirectional"] is True
    assert "threads" not in there["runs"]["bidirectional=True,seed=1"]


def test_the_report_s_steps_are_those_read_off_its_figures(tmp_path):
    plans = grid(
        tmp_path, {"cell": ("lstm-course", "gru-course"), "length": (4, 5, 6)}, 1, "report"
    ).plans
    report = [published_steps(p.config)["the report, accuracy ≈ 0.99 (±60)"] for p in plans]
    assert report == [500, 540, 480, 360, 270, 270]
