"""What is suggested: what is not there yet, best first, and through which nodes."""

import io

import networkx
import pandas as pd
import pytest

import plait
from plait.api import predictions
from plait.cli import run as run_command
from plait.errors import InputError

TINY = {"hidden_size": 8, "embedding_size": 8, "steps": 8, "threads": 1, "device": "cpu"}
CLUB = networkx.karate_club_graph()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return plait.train("links", out=tmp_path_factory.mktemp("links") / "run", **TINY)


@pytest.mark.parametrize("node", [0, 33, 11])
def test_suggestions_are_not_there_yet_and_explained(run, node):
    table = predictions(run, node=str(node), top=100)
    assert set(table["node"]) == {str(node)}
    others = set(CLUB) - set(CLUB[node]) - {node}
    assert set(map(int, table["suggestion"])) == others
    assert len(table) == len(others)
    assert table["score"].is_monotonic_decreasing
    assert table["score"].between(0, 1).all()
    for row in table.itertuples():
        common = sorted(networkx.common_neighbors(CLUB, node, int(row.suggestion)))
        assert [int(name) for name in row.through.split()] == common
        assert row.common_neighbours == len(common)
    pd.testing.assert_frame_equal(predictions(run, node=str(node), top=4), table[:4])


def test_all_nodes_are_asked_where_none_is_named(run):
    path = plait.predict(run, top=3)
    table = pd.read_csv(path, dtype={"node": str, "suggestion": str}, keep_default_na=False)
    assert table["node"].tolist() == [str(n) for n in range(34) for _ in range(3)]
    one = predictions(run, node="7", top=3)
    assert table[table["node"] == "7"]["suggestion"].tolist() == one["suggestion"].tolist()


def test_a_node_s_suggestions_are_printed_or_kept(run, tmp_path, capsys):
    words = ["predict", str(run.path), "--for", "33", "--top", "4"]
    assert run_command(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["node", "suggestion", "score", "common_neighbours", "through"]
    expected = predictions(run, node="33", top=4)
    assert [line.split()[1] for line in lines[1:]] == expected["suggestion"].tolist()
    assert run_command([*words, "--out", str(tmp_path / "a.csv")]) == 0
    assert capsys.readouterr().out == f"saved in {tmp_path / 'a.csv'}\n"
    kept = pd.read_csv(io.StringIO((tmp_path / "a.csv").read_text()), dtype=str)
    assert kept["suggestion"].tolist() == expected["suggestion"].tolist()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--for", "99"], "there is no node '99' in karate_club_graph() of networkx; ids are 0, "),
        (["--for", "1", "--top", "0"], "--top must be at least 1, not 0"),
        (["--for", "1", "--data", "cora"], "a links run predicts for its own data alone"),
        (
            ["--for", "1", "--out", "no/such/a.csv"],
            "no/such is no folder, so a.csv",
        ),
    ],
)
def test_bad_input_is_one_line(run, capsys, words, message):
    assert run_command(["predict", str(run.path), *words]) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
    assert errors.startswith(f"plait: {message}")


def test_only_links_are_suggested_with_somebody(tmp_path, capsys):
    nodes = plait.train("nodes", data="karate", steps=2, out=tmp_path / "nodes")
    assert run_command(["predict", str(nodes.path), "--with", "1"]) == 2
    assert capsys.readouterr().err == "plait: --with is not for 'nodes' runs\n"


def test_another_network_is_not_what_the_run_knows(tmp_path):
    edges = tmp_path / "edges.csv"
    edges.write_text("source,target\n" + "".join(f"p{u},p{u + 1}\n" for u in range(9)))
    run = plait.train("links", edges=str(edges), out=tmp_path / "run", **TINY)
    assert set(predictions(run, node="p3")["suggestion"]) == {
        f"p{k}" for k in (0, 1, 5, 6, 7, 8, 9)
    }
    edges.write_text(edges.read_text() + "p0,p9\n")
    with pytest.raises(InputError, match="no longer what the run was trained on"):
        predictions(run, node="p3")
    with pytest.raises(InputError, match="no longer what the run"):
        plait.score(run)
