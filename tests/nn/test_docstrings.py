"""Docstrings of what is public: shapes, errors, an example, and a first word that is a verb."""

import ast
import inspect
import re
from functools import cache
from pathlib import Path

import pytest

import plait
from plait import nn
from plait.nn.filters import Filter
from plait.nn.layer import Layer
from plait.nn.operators import Basis, OperatorLayer

PUBLIC = {name: getattr(nn, name) for name in nn.__all__}
CLASSES = {name: kind for name, kind in PUBLIC.items() if inspect.isclass(kind)}
CLASSES |= {kind.__name__: kind for kind in (Basis, Filter, Layer, OperatorLayer)}

RAISES_NOTHING = {
    "Dense", "LSTM", "CoupledLSTM", "LayerNormLSTM", "MinimalGatedUnit", "MinGRU", "MinLSTM",
    "IndRNN",
}  # fmt: skip

DIALECT = [
    [word]
    for word in ("Give", "Gives", "Say", "Says", "Tell", "Tells", "Hear", "Hears", "Who", "Whom")
]


@pytest.mark.parametrize("name", CLASSES)
def test_a_public_class_has_its_shapes_its_errors_and_an_example(name):
    text = inspect.getdoc(CLASSES[name]) or ""
    sections = set(re.findall(r"^(\w+)\n-+$", text, re.M))
    wanted = {"Shapes", "Example"} | (
        {"Raises"} - ({"Raises"} if name in RAISES_NOTHING else set())
    )
    assert wanted <= sections


@pytest.mark.parametrize("name", sorted(RAISES_NOTHING))
def test_a_class_without_errors_checks_nothing(name):
    code = inspect.getsource(getattr(nn, name))
    assert "raise " not in code
    assert "__post_init__" not in code


@pytest.mark.parametrize("name", ["train", "resume", "load", "score", "predict", "inspect"])
def test_a_command_as_a_call_has_an_example(name):
    assert ">>> " in (inspect.getdoc(getattr(plait, name)) or "")


NOUNS = (
    "A", "All", "An", "Both", "Each", "Every", "Logits", "Mean", "Some", "The", "What", "Where",
    "Whether", "Which",
)  # fmt: skip
"""How a docstring begins that leaves out what its function does with it."""


@cache
def docstrings():
    """List the first line of every docstring, where it stands, and whether it is a function's."""
    root, found = Path(plait.__file__).parent, []
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                called = isinstance(node, ast.FunctionDef) and not any(
                    "property" in ast.unparse(one) for one in node.decorator_list
                )
                line = (ast.get_docstring(node) or "").partition("\n")[0]
                found.append((line, str(path.relative_to(root)), called))
    return found


def test_docstrings_start_with_words_of_the_field():
    assert [(line, path) for line, path, _ in docstrings() if line.split()[:1] in DIALECT] == []


def test_docstrings_of_functions_start_with_a_verb():
    found = [(line, path) for line, path, called in docstrings()
             if called and line.partition(" ")[0] in NOUNS
             and not path.startswith("zoo")]  # there each names a paper's model  # fmt: skip
    assert found == []
