"""Commands on a trained run whose options are the tasks' own: `score`, `predict`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclopts import App

from plait.cli.options import with_options
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


score = App(name="score")
score.default(
    with_options(
        _score,
        {
            "data": (
                str,
                "Other data, all of it: "
                f"{_by_task({name: entry.score_data for name, entry in TASKS.items()})}. Default: "
                "the run's test set.",
            )
        },
        {name: entry.score_options for name, entry in TASKS.items()},
    )
)

predict = App(
    name="predict",
    help_epilogue="What the table has: "
    f"{_by_task({name: entry.predicts for name, entry in TASKS.items()})}.",
)
predict.default(
    with_options(
        _predict,
        {
            "data": (
                str,
                "What to predict of: "
                f"{_by_task({name: entry.predict_data for name, entry in TASKS.items()})}. "
                "Default: the run's own data.",
            ),
            "out": (
                Path,
                "The file, new: NAME.csv or NAME.json. Default: predictions.csv in the run folder.",
            ),
        },
        {name: entry.predict_options for name, entry in TASKS.items()},
    )
)
