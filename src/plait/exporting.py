"""`plait export`: a trained model, or a layer, as a file that runs without Plait."""

import os
from pathlib import Path
from typing import Any, Literal

from plait import __version__
from plait.api import config_of, load
from plait.errors import InputError
from plait.export_formats import Form
from plait.export_formats.layers import layer_form
from plait.export_formats.onnx_file import onnx_file, require_onnx
from plait.export_formats.torch_file import torch_file
from plait.nn.graph import Graph
from plait.tasks import exported_form
from plait.text_files import require_path
from plait.training.files import write_aside
from plait.training.run import Run

Format = Literal["onnx", "torch"]

SUFFIXES: dict[str, str] = {"onnx": ".onnx", "torch": ".pt2"}
"""Of the files, by format."""


def export(
    model: Any,
    out: str | os.PathLike[str] | None = None,
    *,
    format: Format = "onnx",
    step: bool = False,
    graph: Graph | None = None,
) -> Path:
    """Write a trained model, or a layer, as a file that runs without Plait, and check it.

    Batch size and sequence length are dynamic; a graph is fixed in the file. What is written has
    been run, by ONNX Runtime or by torch, at three sizes, and differs from the model's own output
    by no more than 1e-5 (for numbers above 1: of the largest).

    Parameters
    ----------
    model : path, Run, Recurrent, GraphConv or Form
        A run folder; a layer; or a `plait.export_formats.Form`, for a module of your own.
    out : path
        The file, new. None: `model.onnx`, `model-step.onnx` or the same with `.pt2` in the run
        folder.
    format : "onnx" or "torch"
        ONNX, or the file that `torch.export.load` reads.
    step : bool
        One step with states in and out, for streams; otherwise a whole sequence, which takes and
        returns states too.
    graph : Graph
        For a layer over a graph.

    Returns
    -------
    Path
        The file. Its metadata, each value as JSON, are what the task needs next to it: symbols,
        ids, classes, scales, the graph, and the options of the run.

    Raises
    ------
    InputError
        For a task that exports nothing, a model that the format cannot express, a file that
        computes something else, and where `out` is there already.

    Example
    -------
    >>> import plait, tempfile, torch
    >>> folder = tempfile.mkdtemp()
    >>> layer = plait.Recurrent(plait.GRU(), 3, 8)
    >>> path = plait.export(layer, folder + "/gru.pt2", format="torch")
    >>> y, h = torch.export.load(path).module()(torch.ones(9, 2, 3), torch.zeros(1, 2, 8))
    >>> y.shape
    torch.Size([9, 2, 8])
    """
    return export_checked(model, out, format=format, step=step, graph=graph)[0]


def export_checked(
    model: Any, out: str | os.PathLike[str] | None, *, format: str, step: bool,
    graph: Graph | None = None,
) -> tuple[Path, float]:  # fmt: skip
    """Return also the largest difference of the file's output from the model's."""
    if format not in SUFFIXES:
        raise InputError(f"format must be onnx or torch, not {format!r}")
    run = model if isinstance(model, Run) else None
    if isinstance(model, str | os.PathLike):
        run = Run.open(Path(model))
    path = _free(out, format, run, step=step)
    if format == "onnx":
        require_onnx()
    if run is not None:
        if graph is not None:
            raise InputError("a run has its own graph; leave graph= out")
        form = exported_form(run.task, load(run), config_of(run), run.facts, step=step)
        about = {"plait": __version__, "task": run.task, "options": run.config}
    elif isinstance(model, Form):
        if step or graph is not None:
            raise InputError("a Form has its graph and its steps; leave step= and graph= out")
        form, about = model, {"plait": __version__}
    else:
        form, about = layer_form(model, graph, step=step), {"plait": __version__}
    content, difference = (onnx_file if format == "onnx" else torch_file)(form, about)
    write_aside(path, content)
    return path, difference


def _free(out: str | os.PathLike[str] | None, kind: str, run: Run | None, *, step: bool) -> Path:
    """Return the path of a new file; refuse one that is there, or that the format does not fit."""
    if out is None and run is None:
        raise InputError(f"give out=, the file to write, such as layer{SUFFIXES[kind]}")
    if out is None:
        assert run is not None
        path = run.path / f"model{'-step' * step}{SUFFIXES[kind]}"
    else:
        path = Path(out)
    require_path(path)
    other = next((f for f, suffix in SUFFIXES.items() if f != kind and path.suffix == suffix), None)
    if other is not None:
        raise InputError(
            f"{path.name} is named as a file of {other}, and the format is {kind}; name it "
            f"{path.stem}{SUFFIXES[kind]}, or give --format {other}"
        )
    if path.exists():
        raise InputError(f"{path} exists already; give another --out")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is no folder, so {path.name} cannot be written there")
    return path
