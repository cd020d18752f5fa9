"""The command that writes a model for other programs: `export`."""

from pathlib import Path
from typing import Literal

from plait.cli.entry import app
from plait.cli.flags import On, Threads
from plait.terminal import show


@app.command
def export(
    run: Path,
    *,
    format: Literal["onnx", "torch"] = "onnx",
    out: Path | None = None,
    step: On = False,
    threads: Threads = 0,
) -> None:
    """Write the model of a run as a file that runs without Plait, checked against the model.

    Runs of text, forecast, nodes and links are exported.

    Example: plait export runs/text-presidents --out presidents.onnx

    Parameters
    ----------
    run : Path
        The run folder.
    format : str
        onnx: for ONNX Runtime and others. torch: for torch.export.load.
    out : Path
        The file, new. Default: model.onnx, model-step.onnx or the same with .pt2 in the run folder.
    step : bool
        One step with states in and out, for generation and streams, instead of a whole sequence.
    """
    from plait.api import set_threads
    from plait.exporting import export_checked

    set_threads(threads)
    path, difference = export_checked(run, out, format=format, step=step)
    show(f"saved in {path}; differs from the model's own output by {difference:.1g} at most")
