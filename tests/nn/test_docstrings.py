"""Docstrings of what is public: shapes, errors, an example, and a first word that is a verb."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import plait
from plait import nn

CLASSES = [name for name in nn.__all__ if inspect.isclass(getattr(nn, name))]

RAISES_NOTHING = {
    "Dense", "LSTM", "CoupledLSTM", "LayerNormLSTM", "MinimalGatedUnit", "MinGRU", "MinLSTM",
    "IndRNN",
}  # fmt: skip

DIALECT = ("Give", "Gives", "Say", "Says", "Tell", "Tells", "Hear", "Hears", "Who", "Whom")


@pytest.mark.parametrize("name", CLASSES)
def test_a_public_class_has_its_shapes_its_errors_and_an_example(name):
    text = inspect.getdoc(getattr(nn, name)) or ""
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


FOLDERS = ("cli", "graph_data", "nn", "zoo")
FILES = ("data", "decoding", "errors", "figures", "generation", "inspection", "sampling")


def test_docstrings_start_with_words_of_the_field():
    root = Path(plait.__file__).parent
    paths = [p for folder in FOLDERS for p in (root / folder).rglob("*.py")]
    found = []
    for path in [*paths, *(root / f"{name}.py" for name in FILES)]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                first = (ast.get_docstring(node) or " ").split()[:1]
                if first and first[0] in DIALECT:
                    found.append(f"{path.name}: {ast.get_docstring(node)}")
    assert found == []
