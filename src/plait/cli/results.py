"""Commands on a trained run: `score`, `predict`, `inspect`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from plait.cli.entry import app
from plait.cli.flags import Device, On, Threads, Whole
from plait.terminal import show


@app.command
def score(
    run: Path,
    *,
    data: str | None = None,
    skip_unknown: On = False,
    dynamic: On = False,
    encoding: str | None = None,
    device: Device = "auto",
    threads: Threads = 0,
) -> None:
    """Score a trained model on data that it has not seen, a baseline beside it.

    Example: plait score runs/text-presidents --data other.txt

    Parameters
    ----------
    run : Path
        The run folder.
    data : str
        A text by path or name, all of it; for memory, lengths such as 8,10,12; for scenes, a JSON
        file. Default: the run's own test part.
    skip_unknown : bool
        Leave characters or words out that the model has never seen; words count as one unknown
        word otherwise.
    dynamic : bool
        Score also with the weights learning on from what was scored.
    encoding : str
        Of --data, where that is a text or a table: utf-8, cp1252, utf-16, …. Default: the run's.
    """
    from plait.api import choose_device, set_threads
    from plait.api import score as score_run

    set_threads(threads)
    given = {"skip_unknown": skip_unknown, "dynamic": dynamic}
    options: dict[str, Any] = {name: on for name, on in given.items() if on}
    if encoding is not None:
        options["encoding"] = encoding
    scores = score_run(run, data, device=str(choose_device(device)), **options)
    for name, value in scores.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        show(f"{name.replace('_', ' '):<30}{shown:>12}")


@app.command
def predict(
    run: Path,
    *,
    data: str | None = None,
    node: Annotated[str | None, Parameter(name="--for")] = None,
    top: Whole | None = None,
    out: Path | None = None,
    encoding: str | None = None,
    device: Device = "auto",
    threads: Threads = 0,
) -> None:
    """Write what a trained model predicts to a file: forecasts, labels of nodes, connections, ….

    Of visits: the drugs of each patient's next period, ranked; a research tool, not medical advice.

    Example: plait predict runs/speeds --data recent.csv --out forecast.csv

    Parameters
    ----------
    run : Path
        The run folder.
    data : str
        What to predict of, such as the latest measurements; for scenes a JSON file. Default: the
        run's own data.
    node : str
        For links: the node to suggest connections for, which are printed, unless --out is given.
        Default: all nodes.
    top : int
        For links: suggestions for a node. Default: 10.
    encoding : str
        Of --data, where that is a table: utf-8, cp1252, utf-16, …. Default: the run's.
    out : Path
        The file, new: NAME.csv or NAME.json. Default: predictions.csv in the run folder.
    """
    from plait.api import choose_device, predictions, set_threads
    from plait.api import predict as predict_table

    set_threads(threads)
    given = {"node": node, "top": top, "encoding": encoding}
    options = {name: value for name, value in given.items() if value is not None}
    options["device"] = str(choose_device(device))
    if node is not None and out is None:
        show(predictions(run, data, **options).to_string(index=False))
    else:
        show(f"kept in {predict_table(run, data, out=out, **options)}")


@app.command(name="inspect")
def inspect_runs(
    runs: Annotated[list[Path], Parameter(negative="")],
    *,
    out: Path | None = None,
    repetition: On = False,
    equations: Annotated[
        Literal["text", "latex"] | bool,
        Parameter(negative="", metavar="text|latex", show_choices=False),
    ] = False,
    threads: Threads = 0,
) -> None:
    """Show what networks are made of, and how the gradient flows back through time in them.

    Example: plait inspect runs/recall-rnn runs/recall-lstm --out flow.png

    Parameters
    ----------
    runs : list
        Run folders; the picture has a column for each.
    out : Path
        The picture. Default: inspect.png in the first run folder.
    repetition : bool
        For text: write, and tell how much of it repeats itself, by how sharply is drawn.
    equations : str
        Print their cells' equations too, and the gradient derived from
        them. `--equations latex`: as LaTeX.
    """
    from plait.api import set_threads
    from plait.inspection import inspect as inspect_them

    set_threads(threads)
    several = inspect_them(runs, out=out, repetition=repetition, equations=equations)
    for number, found in enumerate(several):
        show("\n" * (number > 0) + str(found))
