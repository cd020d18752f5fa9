"""What the page of a trained run is made of: controls that a person sets, and blocks shown.

A task's page is a function of the controls' values that yields blocks; `plait serve` sends them to
the browser, which draws each by its kind. Nothing here knows HTTP or HTML.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import networkx
import numpy as np

from plait.diagnostics.gradients import GradientFlow
from plait.errors import InputError
from plait.terminal import printable

Block = dict[str, Any]
"""What is shown: its `kind`, the place `to` go to, and JSON values that the kind needs."""

Blocks = Generator[Block, None, None]
"""What an answer is: blocks, one after another."""

SUGGESTED = 500
"""Names at most that a text field suggests."""

TABLE_ROWS = 200
"""Rows of a table at most that are shown."""


@dataclass(frozen=True)
class Control:
    """A value that a person sets on a page.

    Attributes
    ----------
    name : str
        The argument of the page's function.
    label : str
    kind : "text", "lines", "number", "choice", "several"
        A line of text, several lines, a slider, one of `choices`, some of them.
    default
    least, most, step : float
        The range of a number, or the most characters of a text; `step` 1: whole numbers.
    choices : sequence of str
        Of a text field: suggestions; of a slider: what is shown of each number.
    help : str
    """

    name: str
    label: str
    kind: Literal["text", "lines", "number", "choice", "several"]
    default: Any
    least: float = 0
    most: float = 200
    step: float = 1
    choices: Sequence[str] = ()
    help: str = ""

    def read(self, value: Any) -> Any:
        """Return a value that came from a browser; `InputError` where it cannot be.

        >>> from plait.pages import Control
        >>> Control("beta", "β", "number", 1.0, most=4, step=0.1).read(2)
        2.0
        """
        if self.kind in ("text", "lines"):
            if not isinstance(value, str):
                raise InputError(f"{self.label}: give a text")
            if len(value) > self.most:
                raise InputError(f"{self.label}: at most {self.most:,.0f} characters")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise InputError(
                    f"{self.label}: has halves of characters (unpaired surrogates)"
                ) from None
            return value
        if self.kind == "number":
            known = isinstance(value, int | float) and not isinstance(value, bool)
            if not known or not math.isfinite(value) or not self.least <= value <= self.most:
                raise InputError(
                    f"{self.label}: give a number from {self.least:g} to {self.most:g}"
                )
            if self.step != 1:
                return float(value)
            if value != int(value):
                raise InputError(f"{self.label}: give a whole number")
            return int(value)
        chosen = value if self.kind == "several" else [value]
        if not isinstance(chosen, list) or any(c not in self.choices for c in chosen):
            raise InputError(f"{self.label}: choose from {', '.join(self.choices[:10])}")
        if not 1 <= len(chosen) <= self.most:
            raise InputError(f"{self.label}: choose 1 to {self.most:g}")
        return list(dict.fromkeys(chosen)) if self.kind == "several" else value


@dataclass(frozen=True)
class Page:
    """What a person can try with a trained model.

    Attributes
    ----------
    about : str
        What it shows, in a sentence.
    controls : sequence of Control
    answer : generator function
        Takes the controls' values by name and yields blocks.
    action : str
        What the button says.
    """

    about: str
    controls: Sequence[Control]
    answer: Callable[..., Blocks]
    action: str = "Show"

    def read(self, values: Any) -> dict[str, Any]:
        """Return the values of all controls; `InputError` for unknown or wrong ones."""
        if not isinstance(values, dict):
            raise InputError("give the controls' values by name")
        known = {control.name: control for control in self.controls}
        if unknown := [name for name in values if name not in known]:
            raise InputError(f"there is no control {unknown[0][:40]!r}")
        return {name: c.read(values.get(name, c.default)) for name, c in known.items()}

    def described(self) -> dict[str, Any]:
        """Return the page as JSON values, without the function.

        Names from data are there as they are, to be sent back, and as they are `shown`.
        """
        controls = [{**asdict(c), "shown": [printable(name) for name in c.choices]}
                    for c in self.controls]  # fmt: skip
        return {"about": self.about, "controls": controls, "action": self.action}


def note(text: str, to: str = "note") -> Block:
    """Return a paragraph."""
    return {"kind": "note", "to": to, "text": text}


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], to: str) -> Block:
    """Return a table; of a long one, its beginning."""
    shown = [[as_json(cell) for cell in row] for row in rows[:TABLE_ROWS]]
    more = f" (the first {TABLE_ROWS} of {len(rows):,} rows)" if len(rows) > TABLE_ROWS else ""
    return {"kind": "table", "to": to, "title": title + more, "columns": list(columns),
            "rows": shown}  # fmt: skip


def line(name: str, values: Any, look: str = "line") -> dict[str, Any]:
    """Return a curve for `chart`: its name, its values, and a look: line, dashes, dots."""
    return {"name": name, "values": [as_json(v) for v in np.asarray(values).tolist()], "look": look}


def chart(
    title: str,
    x: Any,
    lines: Sequence[Mapping[str, Any]],
    to: str,
    *,
    x_label: str,
    y_label: str = "",
    band: Mapping[str, Any] | None = None,
    log: bool = False,
    x_names: Sequence[str] = (),
) -> Block:
    """Return curves over `x`, with a band of `name`, `low` and `high` around one of them.

    `x_names` stand for the numbers on the axis, such as times.
    """
    around = None
    if band is not None:
        ends = {k: [as_json(v) for v in np.asarray(band[k]).tolist()] for k in ("low", "high")}
        around = {"name": band["name"], **ends}
    return {"kind": "chart", "to": to, "title": title, "x": np.asarray(x).tolist(),
            "lines": list(lines), "band": around, "x_label": x_label, "y_label": y_label,
            "log": log, "x_names": list(x_names)}  # fmt: skip


def graph(
    title: str,
    names: Sequence[str],
    edges: Sequence[Sequence[int]],
    to: str,
    *,
    groups: Sequence[int] = (),
    group_names: Sequence[str] = (),
    marked: Sequence[int] = (),
    strong: Mapping[tuple[int, int], float] | None = None,
    dashed: Sequence[Sequence[int]] = (),
    hints: Sequence[str] = (),
    places: Any = None,
    boxes: Any = (),
) -> Block:
    """Return a graph of few nodes.

    Parameters
    ----------
    title : str
    names : sequence of str
    edges, dashed : sequence of pairs
        Of the nodes' numbers; those dashed are not there yet.
    to : str
    groups : sequence of int
        The colour of each node, by number; −1: none.
    group_names : sequence of str
    marked : sequence of int
        Nodes with a ring.
    strong : mapping
        Edges that are drawn thick, from 0 to 1.
    hints : sequence of str
        What is shown of each node when it is pointed at.
    places : array `[n, 2]`
        None: by springs (Fruchterman & Reingold 1991).
    boxes : array `[n, 4]`
        Left, top, right and bottom of a frame around each node, in the units of `places`.
    """
    pairs = sorted({(min(u, v), max(u, v)) for u, v in edges if u != v})
    if places is None:
        drawn = networkx.Graph()
        drawn.add_nodes_from(range(len(names)))
        drawn.add_edges_from(pairs)
        found = networkx.spring_layout(drawn, seed=0, iterations=100)
        places = np.array([found[k] for k in range(len(names))]).reshape(-1, 2)
    strength = {(min(e), max(e)): s for e, s in (strong or {}).items()}
    return {
        "kind": "graph", "to": to, "title": title, "names": list(names),
        "places": np.round(np.asarray(places, dtype=float), 4).tolist(),
        "edges": [[u, v, round(float(strength.get((u, v), 0)), 3)] for u, v in pairs],
        "dashed": [[int(u), int(v)] for u, v in dashed],
        "groups": [int(g) for g in groups], "group_names": list(group_names),
        "marked": [int(k) for k in marked], "hints": list(hints),
        "boxes": np.round(np.asarray(boxes, dtype=float), 4).tolist(),
    }  # fmt: skip


def flow_blocks(flow: GradientFlow) -> Blocks:
    """Yield how the gradient flows back through time, layer by layer, and what that means."""
    for layer in flow.layers:
        lines = [line(f"with respect to {state}", norms) for state, norms in layer.norms.items()]
        yield chart(
            f"The gradient's flow in {layer.name}: {layer.verdict}",
            range(1, len(layer.flow) + 1), lines, f"flow {layer.name}",
            x_label="step of the sequence", y_label="gradient norm, last loss", log=True,
        )  # fmt: skip
        yield note(layer.explain(), f"why {layer.name}")


def as_json(value: Any) -> Any:
    """Return a cell as a JSON value: numbers and texts as they are, what is not finite as None.

    >>> from plait.pages import as_json
    >>> as_json(float("nan")), as_json(3), as_json("three")
    (None, 3, 'three')
    """
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | str) or value is None else str(value)
