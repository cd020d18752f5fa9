"""Tasks of installed packages: the one of docs/howto/task.md, and packages that are broken."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from plait.tasks import TASKS

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "task.md"

COMMANDS = """
train counting --length 5 --hidden-size 4 --steps 3 --out run
compare counting --vary cell=rnn,min-gru --length 5 --hidden-size 4 --steps 2 --seeds 1 --out grid
score run --longer 2
predict run --data 0110 --out counts.csv
resume run
train counting --from run --length 9 --hidden-size 4 --steps 1
train --help
score --help
predict run --data 0120
score run --skip-unknown
"""

SCRIPT = """
import sys
from plait.cli import run
for line in sys.stdin.read().split("\\n"):
    print(f"> {line}", flush=True)
    print(f"< {run(line.split())}", flush=True)
"""


def install(site: Path, name: str, entry: str) -> None:
    """Lay the names of an installed package into a folder of sys.path, as pip does."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[plait.tasks]\n{name} = {entry}\n")


def python(script: str, site: Path, folder: Path, given: str = "") -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", script], input=given, text=True, capture_output=True, cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "100"}, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder of installed packages with the page's."""
    site = tmp_path_factory.mktemp("site")
    for title, code in re.findall(
        r'^```\w+ title="(counting/[^"]+)"\n(.*?)^```$', PAGE.read_text("utf-8"), re.M | re.S
    ):
        (site / title).parent.mkdir(exist_ok=True)
        (site / title).write_text(code)
    install(site, "counting", "counting:TASK")
    return site


def test_a_task_of_a_package_is_on_every_command(site, tmp_path) -> None:
    found = python(SCRIPT, site, tmp_path, COMMANDS.strip())
    answers = re.findall(r"^> (.+)\n((?:.*\n)*?)< (\d)$", found.stdout, re.M)
    codes = {command: int(code) for command, _, code in answers}
    said = {command: text for command, text, _ in answers}
    lines = COMMANDS.strip().split("\n")
    assert codes == dict.fromkeys(lines[:8], 0) | dict.fromkeys(lines[8:], 2), found.stderr
    assert "always the likeliest answer 25.0%" in said[lines[0]]
    assert (tmp_path / "run" / "curves.png").exists()
    assert len(list((tmp_path / "grid").glob("cell=*"))) == 2
    assert re.search(r"^accuracy +0\.\d{4}$", said[lines[2]], re.M)
    assert len((tmp_path / "counts.csv").read_text().splitlines()) == 5
    assert "all 3 steps are done" in said[lines[4]] + found.stderr
    assert json.loads((tmp_path / "runs/counting-9/config.json").read_text())["task"] == "counting"
    assert "Count the ones of a sequence, modulo 4." in said[lines[6]]
    assert "For counting: So many bits more than in training." in " ".join(said[lines[7]].split())
    assert found.stderr.splitlines()[-2:] == [
        "plait: --data must be bits, such as 0110",
        "plait: --skip-unknown is not for 'counting' runs",
    ]


def test_the_page_checks_its_task(site, tmp_path) -> None:
    (check,) = re.findall(
        r"^```python\n(from counting.task import TEST\n.*?)^```$",
        PAGE.read_text("utf-8"),
        re.M | re.S,
    )
    wrong = check.replace("assert stream != TEST", "assert stream == TEST")
    assert wrong != check
    both = f"exec({check!r}, {{}})\nprint('right', flush=True)\nexec({wrong!r}, {{}})"
    found = python(both, site, tmp_path)
    assert (found.returncode, found.stdout) == (1, "right\n")
    assert found.stderr.rstrip().endswith("AssertionError")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("TASK = 3", "TypeError: broken:TASK is no TaskEntry"),
        (
            "from plait.tasks.entry import TaskEntry\n"
            "TASK = TaskEntry(name='text', help='', config='a:B', task='a:B', model='a:B')",
            "ValueError: there is a task named 'text' already",
        ),
        (
            "from plait.tasks.entry import TaskEntry\n"
            "TASK = TaskEntry(name='b', help='', config='json:dumps', task='a:B', model='a:B')",
            "TypeError: ",
        ),
    ],
)
def test_a_broken_package_is_left_out_in_a_line(code, reason, tmp_path) -> None:
    install(tmp_path / "site", "broken", "broken:TASK")
    (tmp_path / "site" / "broken.py").write_text(code)
    found = python("from plait.tasks import TASKS; print(len(TASKS))", tmp_path / "site", tmp_path)
    assert found.stdout == f"{len(TASKS)}\n"
    assert found.stderr.startswith(
        f"plait: the task 'broken' of the package broken is left out: {reason}"
    )
    assert found.stderr.endswith("; fix or uninstall it\n")
    assert found.stderr.count("\n") == 1


OPERATOR = """
from plait.nn.registry import CELLS, OPERATORS
OPERATORS["two-hops"] = lambda given: Twice(given.order)
CELLS["plain"] = lambda: Plain()
import torch
from plait import Cell, Chebyshev, RNN
class Twice(Chebyshev): pass
class Plain(RNN): pass
"""


def test_a_new_operator_or_cell_is_one_line(tmp_path) -> None:
    """It is on the command line of every task that has the option, and in its help."""
    commands = """
    train nodes --operator two-hops --steps 1 --hidden-size 4 --out nodes
    train links --operator two-hops --steps 1 --hidden-size 4 --out links
    train forecast --data s.csv --graph correlation --neighbours 1 --operator two-hops --steps 1
    train scenes --operator two-hops --scenes 9 --steps 1 --hidden-size 4 --out scenes
    train visits --operator two-hops --cell plain --patients 20 --steps 1 --hidden-size 4 --out v
    train structure --network two-hops --steps 1 --hidden-size 4 --out structure
    train structure --network plain-bfs --steps 1 --hidden-size 4 --out sequence
    train memory --cell plain --steps 1 --hidden-size 4 --out memory
    train text --data python-docs --cell plain --steps 1 --hidden-size 4 --out text
    score nodes
    train nodes --help
    """
    rows = ("".join(f"{(k * step) % 7 + k}," for k in (2, 3, 5))[:-1] for step in range(200))
    (tmp_path / "s.csv").write_text("a,b,c\n" + "\n".join(rows) + "\n")
    lines = "\n".join(line.strip() for line in commands.strip().split("\n"))
    found = python(OPERATOR + SCRIPT, tmp_path, tmp_path, lines)
    codes = re.findall(r"^< (\d)$", found.stdout, re.M)
    assert codes == ["0"] * 11, found.stderr
    assert "two-hops" in found.stdout.split("> train nodes --help")[1]
