"""What README and the site say: their commands are there, their links lead somewhere, they run.

Python blocks are run as they stand, those of a page in one namespace, in an empty folder. Of
shell blocks every `plait` command is run, trainings cut to three steps and grids to one seed. A
block that writes example files is titled make_….py; the README's commands find those of all. What
cannot be run so stands under a comment `<!-- not run: the reason -->`.
"""

import json
import re
import shlex
import xml.etree.ElementTree
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from itertools import chain
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

import pytest
import torch

import plait
from plait import Cell
from plait.cli import app, run
from plait.data import find_data
from plait.nn import (
    GCN,
    GIN,
    GINE,
    GRU,
    LSTM,
    RGCN,
    RNN,
    SAGE,
    Attention,
    Chebyshev,
    CoupledLSTM,
    Dense,
    Diffusion,
    IndRNN,
    LayerNormLSTM,
    MinGRU,
    MinimalGatedUnit,
    MinLSTM,
    Propagation,
    Recurrent,
    SAGEMax,
)  # fmt: skip
from plait.nn.registry import CELLS, cell_named
from plait.tasks import TASKS, config_class

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
RUN = [page for page in PAGES if re.search(r"^```(python|sh)", page.read_text("utf-8"), re.M)]

FILES = {
    "cora": "graphs/planetoid/ind.cora.x",
    "los-loop": "series/los_speed.csv",
    "mimic3demo": "visits/mimic3demo/ADMISSIONS.csv.gz",
}
"""Files without which a command that names them as data or recipe cannot run."""
FILES |= dict.fromkeys(("kipf2017", "velickovic2018"), FILES["cora"])


class Block(NamedTuple):
    """A block of code in a page."""

    language: str
    title: str
    code: str
    line: int
    not_run: str


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = re.finditer(
        r"^(?:<!-- not run: (.+) -->\n)?```(\w+)(?: title=\"([^\"\n]+)\")?\n((?:.*\n)*?)```$",
        text,
        re.M,
    )
    return [
        Block(m[2], m[3] or "", m[4], text.count("\n", 0, m.start(2)) + 1, m[1] or "")
        for m in found
    ]


def prose_of(page: Path) -> str:
    """The page without its blocks."""
    text = page.read_text("utf-8")
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S)


def commands_in(block: Block) -> list[list[str]]:
    """The `plait` commands of a shell block, without the name itself."""
    lines = block.code.replace("\\\n", " ").splitlines()
    split = (shlex.split(line, comments=True) for line in lines)
    return [words[1:] for words in split if words[:1] == ["plait"]]


def commands_of(page: Path) -> Iterator[list[str]]:
    """Those of its shell blocks."""
    for block in blocks_of(page):
        if block.language == "sh":
            yield from commands_in(block)


def spoken_of(page: Path) -> Iterator[list[str]]:
    """Those that stand in its text and its tables."""
    text = prose_of(page)
    for span in re.findall(r"`([^`]+)`", text):
        words = shlex.split(span.replace("\n", " "))
        if words[:1] == ["plait"]:
            yield words[1:]


def flags_of(words: list[str]) -> tuple[set[str], list[str]]:
    """The flags of the command that words begin with, and the words that remain."""
    command, rest = app, list(words)
    while rest and rest[0] in command:
        command = command[rest.pop(0)]
    if command is app:
        return {"--help", "--version"}, rest
    if any(not name.startswith("-") for name in command):  # such as train, whose task is not named
        name = next(name for name in command if not name.startswith("-"))
        command = command[name]
    names = chain.from_iterable(a.names for a in command.assemble_argument_collection())
    return {"--help", *names}, rest


@cache
def all_flags() -> set[str]:
    commands = [
        [name] for name in ("score", "predict", "generate", "export", "inspect", "resume", "serve")
    ]
    commands += [[kind, task] for kind in ("train", "compare") for task in TASKS]
    return set[str]().union(*(flags_of(words)[0] for words in commands))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_are_those_of_the_command_line(page: Path) -> None:
    for words in commands_of(page):
        app.parse_args(
            words, exit_on_error=False, print_error=False
        )  # raises for what is not there


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_spoken_of_are_there(page: Path) -> None:
    for words in spoken_of(page):
        assert not words or words[0] in app or words[0].startswith("-"), words
        flags, rest = flags_of(words)
        unknown = {w.split("=")[0] for w in rest if w.startswith("--")} - flags
        assert not unknown, f"plait {' '.join(words)}: {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_flags_spoken_of_are_there(page: Path) -> None:
    assert set(re.findall(r"`(--[a-z-]+)", prose_of(page))) <= all_flags()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_targets_and_benchmarks_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    for name, subject in re.findall(r"python benchmarks/(\w+\.py)(?: ([a-z-]+))?", text):
        code = (ROOT / "benchmarks" / name).read_text("utf-8")
        free = subject == "runs" or subject[:1] in ("", "-")
        assert free or f'"{subject}"' in code, (name, subject)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_nothing_is_left_to_fill_in(page: Path) -> None:
    assert not re.search(r"@@|TODO|^(<<<<<<<|>>>>>>>) ", page.read_text("utf-8"), re.M)


def test_there_is_something_to_run() -> None:
    assert len(RUN) > 15
    assert len(list(commands_of(README))) > 15


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files(page: Path) -> None:
    text = prose_of(page)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http:", "https:", "#")):
            path, _, anchor = target.partition("#")
            file = page.parent / path
            assert file.is_file(), f"{name_of(page)}: {target}"
            if anchor and "reference" not in path:
                assert anchor in anchors_of(file), f"{name_of(page)}: {target}"


def anchors_of(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w]+", "-", title.lower()).strip("-") for title in titles}


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"([\w/]+\.md)", (ROOT / "mkdocs.yml").read_text("utf-8")))
    assert listed == {page.relative_to(DOCS).as_posix() for page in PAGES if page != README}


def test_pages_take_in_what_is_there() -> None:
    for page in PAGES:
        for place in re.findall(r'^--8<-- "(.+)"$', page.read_text("utf-8"), re.M):
            file, _, section = place.partition(":")
            taken = (ROOT / file).read_text("utf-8")
            assert section.isdigit() or not section or f"[start:{section}]" in taken, place


def test_every_public_name_is_in_the_reference() -> None:
    said = "".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
    documented = set(re.findall(r"^::: ([\w.]+)$", said, re.M))
    assert {f"plait.{name}" for name in plait.__all__} <= documented
    for module in ("nn", "diagnostics", "graph_data"):
        names = __import__(f"plait.{module}", fromlist=["x"]).__all__
        missing = {n for n in names if not {f"plait.{n}", f"plait.{module}.{n}"} & documented}
        assert missing <= {"NAMED_GRAPHS"}
    testing = import_module("plait.testing")
    checks = {n for n in vars(testing) if n.startswith("check_")}
    assert {f"plait.testing.{n}" for n in checks} <= documented
    for task in TASKS:
        assert f"<!-- options: {task} -->" in said


def test_every_name_in_the_reference_is_there_and_has_a_docstring() -> None:
    for page in (DOCS / "reference").glob("*.md"):
        for name in re.findall(r"^::: ([\w.]+)$", page.read_text("utf-8"), re.M):
            assert resolve_name(name).__doc__, name


def test_every_cell_of_the_command_line_is_in_the_table_of_cells() -> None:
    table = (DOCS / "concepts" / "layers.md").read_text("utf-8").split("## The cells")[1]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| [")]
    named = [name for row in rows for name in re.findall(r"`([a-z-]+)`", row[3])]
    assert sorted(named) == sorted(CELLS)
    for row in rows:
        classes = {type(cell_named(name)).__name__ for name in re.findall(r"`([a-z-]+)`", row[3])}
        assert classes == set(re.findall(r"\[`(\w+)`\]", row[1]))


def test_every_task_has_a_tutorial() -> None:
    assert {page.stem for page in (DOCS / "tutorials").glob("*.md")} == {*TASKS, "index"}


def loaded(name: str) -> Any:
    spec = spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_options_are_those_of_the_configuration() -> None:
    said = loaded("hooks").on_page_markdown(
        "<!-- options: text -->\n\n<!-- options: training -->\n"
    )
    options = set(re.findall(r"^\| `(--[\w-]+)`", said, re.M))
    assert options == {"--" + f.name.replace("_", "-") for f in fields(config_class("text"))}
    assert "other defaults: `--steps 3000`" in said


def test_help_is_that_of_the_command() -> None:
    said = loaded("hooks").on_page_markdown("<!-- help: generate -->\n")
    assert all(
        flag in said for flag in ("--beta", "--top-p", "--listing", "Example: plait generate")
    )


def test_a_notebook_is_shown_with_what_it_put_out() -> None:
    said = loaded("hooks").on_page_markdown("<!-- notebook: notebook.ipynb -->\n")
    cells = json.loads((DOCS / "howto" / "notebook.ipynb").read_text("utf-8"))["cells"]
    for cell in cells:
        lines = "".join(cell["source"]).splitlines()
        assert all(line.lstrip("# ") in said for line in lines)
    assert said.count("```python\n") == sum(cell["cell_type"] == "code" for cell in cells)
    assert said.count("data:image/png;base64,") >= 2
    assert "<table" in said
    assert "<style" not in said


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("y = W_i x", "<mo>=</mo> <msub><mi>W</mi><mrow><mi>i</mi></mrow></msub> <mi>x</mi>"),
        (
            "c' = f ⊙ c",
            "<msup><mi>c</mi><mrow><mo>′</mo></mrow></msup> <mo>=</mo> <mi>f</mi>",
        ),
        (
            "D_out^-1 A",
            "<mtext>out</mtext></mrow><mrow><mo>−</mo><mn>1</mn></mrow></msubsup>",
        ),
        (
            "y = x,  o likewise",
            "</span> <span><math><mrow><mi>o</mi></mrow></math> likewise<",
        ),
        ("g = x, as in `torch`", "</math> as in <code>torch</code></span>"),
        ("a = b < c", "<mi>b</mi> <mo>&lt;</mo> <mi>c</mi>"),
        (
            "Σ_{j<k} x_jᵀ",
            "<msubsup><mi>x</mi><mrow><mi>j</mi></mrow><mrow><mo>⊤</mo></mrow></msubsup>",
        ),
    ],
)
def test_equations_are_typeset(text: str, shown: str) -> None:
    found = loaded("equations").typeset(text)
    assert shown in found
    assert xml.etree.ElementTree.fromstring(found).tag == "div"


def test_equations_of_the_reference_are_found() -> None:
    is_equation = loaded("equations").is_equation
    for cell in (RNN, LSTM, GRU, CoupledLSTM, MinimalGatedUnit, MinGRU, MinLSTM, IndRNN):
        paragraphs = (cell.__doc__ or "").split("\n\n")
        assert any(is_equation(part) for part in paragraphs), cell
        assert not is_equation(paragraphs[0])


class OwnCell(Cell):
    gates = "ab"
    states = ("h", "m")

    def step(self, x_gates, recurrent, state, vectors):
        h, m = state
        a, b = (x_gates + recurrent(h)).chunk(2, -1)
        m = m + torch.sigmoid(a) * (torch.tanh(b) - m)
        return torch.tanh(m), m


def test_pairs_say_the_kernel_that_explain_says() -> None:
    (table,) = re.findall(r"\[start:pairs\] -->\n(.*?)\n\n", README.read_text("utf-8"), re.S)
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    operators = {"Dense": Dense(), "GCN": GCN(), "Chebyshev": Chebyshev(3),
                 "Diffusion": Diffusion(2), "SAGE": SAGE(), "GIN": GIN(), "RGCN": RGCN(),
                 "Attention": Attention(2), "SAGEMax": SAGEMax(),
                 "Propagation": Propagation(2), "GINE": GINE()}  # fmt: skip
    cells = {"RNN": RNN(), "LSTM": LSTM(), "LSTM(peephole=True)": LSTM(peephole=True),
             "LayerNormLSTM": LayerNormLSTM(), "CoupledLSTM": CoupledLSTM(),
             "GRU": GRU(), 'GRU("before")': GRU("before"), "MinimalGatedUnit": MinimalGatedUnit(),
             "MinGRU": MinGRU(), "MinLSTM": MinLSTM(), "IndRNN": IndRNN(),
             "a cell of your own": OwnCell()}  # fmt: skip
    columns = [re.findall(r"`(\w+)`", c) for c in rows[0][1:]]
    assert [name for names in columns for name in names] == list(operators)
    assert [row[0].strip("`") for row in rows[2:-1]] == list(cells)
    for row in rows[2:-1]:
        for names, said in zip(columns, row[1:], strict=True):
            for name in names:
                layer = Recurrent(cells[row[0].strip("`")], 8, 8, operator=operators[name])
                assert layer.explain().startswith(f"layer 0: {said.split('<br>')[-1]} - "), (
                    row[0],
                    name,
                )


def needed(words: list[str]) -> str | None:
    """The file that a command needs and that is not here."""
    missing = (FILES[w] for w in words if w in FILES and find_data(FILES[w]) is None)
    return next(missing, None)


def shortened(words: list[str]) -> list[str]:
    """The same command with three training steps, and of a grid one seed."""
    fewer = {"train": {"--steps": "3"}, "compare": {"--steps": "3", "--seeds": "1"}}
    if "--minutes" in words:
        fewer["train"] = {"--minutes": "0.001"}
    for flag, value in fewer.get(words[0], {}).items():
        if flag in words:
            at = words.index(flag)
            words = words[:at] + words[at + 2 :]
        words = [*words, flag, value]
    return words


def perform(block: Block, namespace: dict[str, Any]) -> None:
    """Run a block as a script that lies in the folder."""
    script = Path(block.title or f"line_{block.line}.py")
    script.parent.mkdir(exist_ok=True)
    script.write_text(block.code, "utf-8")
    exec(compile(block.code, str(script), "exec"), namespace)


def make_files(namespace: dict[str, Any]) -> None:
    """Run every block that writes example files."""
    for page in PAGES:
        for block in blocks_of(page):
            if block.title.startswith("make_"):
                perform(block, namespace)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_code_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    if page == README:
        make_files({})
    left_out = []
    for block in blocks_of(page):
        place = f"{name_of(page)}:{block.line}"
        if block.not_run:
            left_out.append(f"{place}: {block.not_run}")
        elif block.language == "python":
            perform(block, namespace)
        elif block.language == "sh":
            for words in commands_in(block):
                if missing := needed(words):
                    left_out.append(f"plait {' '.join(words)}: {missing} is not here")
                    continue
                code = run(shortened(words))
                said = capsys.readouterr()
                assert code == 0, f"{place}: plait {' '.join(words)}\n{said.err}"
    if left_out:
        print("\n".join(left_out))
