"""Commands on a trained run: `score`, `predict`, `inspect`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from plait.cli.entry import app
from plait.cli.flags import On, Threads, with_options
from plait.tasks import TASKS
from plait.terminal import show


def _score(
    run: Path, *, data: str | None = None, device: str = "auto", threads: int = 0, **given: Any
) -> None:
    from plait.api import choose_device, set_threads
    from plait.api import score as score_run

    set_threads(threads)
    options = {k: v for k, v in given.items() if v is not None and v is not False}
    scores = score_run(run, data, device=str(choose_device(device)), **options)
    for name, value in scores.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        show(f"{name.replace('_', ' '):<30}{shown:>12}")


def _predict(
    run: Path,
    *,
    data: str | None = None,
    out: Path | None = None,
    device: str = "auto",
    threads: int = 0,
    **given: Any,
) -> None:
    from plait.api import choose_device, follow, predictions, set_threads
    from plait.api import predict as predict_table

    set_threads(threads)
    options = {k: v for k, v in given.items() if v is not None and v is not False}
    printing = {o.name for entry in TASKS.values() for o in entry.predict_options if o.prints}
    options["device"] = str(choose_device(device))
    if (source := options.pop("follow", None)) is not None:
        follow(run, source, data, out=out, **options)
    elif printing & options.keys() and out is None:
        show(predictions(run, data, **options).to_string(index=False))
    else:
        show(f"kept in {predict_table(run, data, out=out, **options)}")


def _by_task(texts: Mapping[str, str]) -> str:
    return "; ".join(f"for {task}, {text}" for task, text in texts.items() if text)


_DATA = {
    "score": _by_task({name: entry.score_data for name, entry in TASKS.items()}),
    "predict": _by_task({name: entry.predict_data for name, entry in TASKS.items()}),
}
_PREDICTS = "; ".join(f"{n}: {entry.predicts}" for n, entry in TASKS.items() if entry.predicts)

app.command(
    with_options(
        _score,
        {"data": (str, f"Other data, all of it: {_DATA['score']}. Default: the run's test part.")},
        {name: entry.score_options for name, entry in TASKS.items()},
        "Score a trained model on its test part or on data that it has not seen, and its baselines."
        "\n\nExample: plait score runs/text-presidents --data other.txt",
    ),
    name="score",
)
app.command(
    with_options(
        _predict,
        {
            "data": (str, f"What to predict of: {_DATA['predict']}. Default: the run's own data."),
            "out": (
                Path,
                "The file, new: NAME.csv or NAME.json. Default: predictions.csv in the run folder.",
            ),
        },
        {name: entry.predict_options for name, entry in TASKS.items()},
        f"Write what a trained model predicts to a file.\n\n{_PREDICTS}."
        "\n\nExample: plait predict runs/speeds --data recent.csv --out forecast.csv",
    ),
    name="predict",
)


@app.command(name="inspect")
def inspect_runs(
    runs: Annotated[list[Path], Parameter(negative="")],
    *,
    out: Path | None = None,
    repetition: On = False,
    units: On = False,
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
        For text: write, and measure how much of it repeats itself, by how sharply it draws.
    units : bool
        For text: find the channels of the states that keep track of quotes, lines, brackets, …,
        draw them over a passage to units.png in the run folder, and measure the structure of
        generated text.
    equations : str
        Print their cells' equations too, and the gradient derived from
        them. `--equations latex`: as LaTeX.
    """
    from plait.api import set_threads
    from plait.inspection import inspect as inspect_them

    set_threads(threads)
    several = inspect_them(runs, out=out, repetition=repetition, units=units, equations=equations)
    for number, found in enumerate(several):
        show("\n" * (number > 0) + str(found))
