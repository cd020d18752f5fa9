"""The house: imports run downward, a file is one idea, and checks call the Makefile."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
MAP = CONTRIBUTING.split("src/plait/\n")[1].split("tests/ ")[0]
ORDER = ["__main__", *re.findall(r"^  (\w+)(?:/|\.py) ", MAP, re.M)]
"""Folders and files of src/plait, from the top of the house down."""

LONG = 320
"""Lines that a file has at most, unless it says below why it is one idea all the same."""

LONGER = {
    "nn/graph.py": "one public class; its computations stand in edges.py and graph_sources.py",
    "nn/recurrent.py": "one public class, half of it docstrings",
    "api.py": "every command as one call, half of it docstrings",
    "diagnostics/gradients.py": "one measurement and its text",
    "kernels/attention.py": "one equation: its packing, formula, gradient and choice of kernels",
    "kernels/cpu/phases.py": "one kernel: the compiled steps around an operator in torch",
    "kernels/gpu/over_time.py": "one call: its memory, forward and backward",
    "kernels/gpu/steps.py": "one kernel: what it accepts, and its steps forward and backward",
    "kernels/library.py": "four operators of torch.library, with shapes and gradients",
    "kernels/cpu/attention2.py": "forward and backward loops of one equation",
    "kernels/cpu/emit.py": "one translation, from programs to source",
    "kernels/cpu/loops.py": "the loops over time, forward and backward, which share their layout",
    "kernels/cpu/simd.py": "a list of one-line operations on vectors",
    "study/sections/gates.py": "one section of the report",
    "study/sections/sequences_over_graphs.py": "one section of the report",
    "study/sections/text.py": "one section of the report",
    "tasks/forecast/model.py": "one model, encoder and decoders",
    "tasks/forecast/task.py": "one task: data, model, loss, scores and pictures",
    "training/run.py": "one public class, the run folder, and where a new one lies",
    "training/learning.py": "one training up to its test, alone or in several processes",
    "tasks/memory/problems.py": "a list of problems, one function each",
}
"""Files with more, and the reason."""


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((SOURCE / "plait").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(body: list[ast.stmt], *, deep: bool, types: bool = False) -> Iterator[tuple[str, int]]:
    """Yield the modules of Plait that some code imports, and the lines; for types if asked for."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not types:
            continue
        if isinstance(node, ast.Import):
            yield from ((a.name, node.lineno) for a in node.names if a.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "") in MODULES:
            for a in node.names:
                full = f"{node.module}.{a.name}"
                yield full if full in MODULES else str(node.module), node.lineno
        else:
            within = deep or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if within:
                for field in ("body", "handlers", "orelse", "finalbody"):
                    yield from imports(getattr(node, field, []), deep=deep, types=types)


def imports_of(name: str, *, deep: bool, types: bool = False) -> list[tuple[str, int]]:
    body = ast.parse(MODULES[name].read_text("utf-8")).body
    found = imports(body, deep=deep, types=types)
    return [(m, line) for m, line in found if m not in (name, "plait")]


def room(module: str) -> str:
    return module.split(".")[1]


def test_the_map_has_every_room_and_no_other() -> None:
    assert sorted(ORDER) == sorted({room(name) for name in MODULES if name != "plait"})


def test_imports_run_downward() -> None:
    upward = [
        f"{MODULES[name].relative_to(ROOT)}:{line} imports {other}"
        for name in MODULES
        if name != "plait"
        for other, line in imports_of(name, deep=False)
        if ORDER.index(room(other)) < ORDER.index(room(name))
    ]
    assert upward == []


TOGETHER = [
    ["plait.tasks.forecast.model", "plait.tasks.forecast.streaming"]  # one method in its own file
]
"""Modules that name each other's types."""


@pytest.mark.parametrize(("types", "known"), [(False, []), (True, TOGETHER)])
def test_there_is_no_circle_of_imports(types: bool, known: list[list[str]]) -> None:
    graph = networkx.DiGraph(
        (name, other) for name in MODULES for other, _ in imports_of(name, deep=False, types=types)
    )
    circles = [sorted(c) for c in networkx.strongly_connected_components(graph) if len(c) > 1]
    assert circles == known


def test_a_file_is_near_three_hundred_lines_or_says_why() -> None:
    lengths = {
        path.relative_to(SOURCE / "plait").as_posix(): len(path.read_text("utf-8").splitlines())
        for path in MODULES.values()
    }
    assert {file: n for file, n in lengths.items() if n > LONG and file not in LONGER} == {}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))


@pytest.mark.parametrize(
    ("file", "key"), [(".github/workflows/ci.yml", "- run"), (".pre-commit-config.yaml", "entry")]
)
def test_automatic_checks_only_call_targets_of_the_makefile(file: str, key: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    commands = re.findall(rf"^ *{key}: (.+)$", text, re.M)
    assert {"make lint", "make test"} <= set(commands)
    assert {command.removeprefix("make ") for command in commands} <= targets()
    assert len(commands) == len(re.findall(r"\b(?:run|entry):", text))


def test_every_supported_python_is_tested() -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    listed = re.search(r"python: \[(.+)\]", text)
    assert listed is not None
    versions = re.findall(r"3\.(\d+)", listed[1])
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    least = re.search(r'requires-python = ">=3\.(\d+)"', project)
    assert least is not None
    assert versions == [str(v) for v in range(int(least[1]), 15)]


def test_the_oldest_versions_are_those_that_pyproject_asks_for() -> None:
    text = (ROOT / "oldest.txt").read_text("utf-8")
    pinned = set(re.findall(r"^([\w-]+==[\d.]+)$", text, re.M))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    least = {d.replace(">=", "==") for d in project["dependencies"]}
    # 1.26 and 1.26.0 are one version
    assert {p.removesuffix(".0") for p in pinned} == {p.removesuffix(".0") for p in least}


def test_an_upward_import_and_a_circle_would_be_found() -> None:
    code = (
        "import plait.api\nif TYPE_CHECKING:\n    import plait.cli\ntry:\n    from plait.nn import "
        "graph\nexcept ImportError:\n    pass\ndef late():\n    from plait.errors import InputError"
    )
    body = ast.parse(code).body
    assert [m for m, _ in imports(body, deep=False)] == ["plait.api", "plait.nn.graph"]
    assert [m for m, _ in imports(body, deep=True)][-1] == "plait.errors"
    assert [m for m, _ in imports(body, deep=False, types=True)][1] == "plait.cli"
