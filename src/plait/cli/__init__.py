"""The command line. Flags are the fields of the tasks' configurations; torch is imported lazily."""

from plait.cli.entry import app, main, run

# each module adds its commands to the app; help lists them by name
from plait.cli import datasets, exporting, graphs, help, runs, serving, study, writing  # isort: skip # noqa: F401

__all__ = ["app", "main", "run"]

# what asks every task for its options is imported when the command is given
app.command(
    "plait.cli.training:train",
    name="train",
    help="Train a model on a task and save everything in a run folder.",
)
app.command(
    "plait.cli.comparing:compare",
    name="compare",
    help="Train with several options and seeds, and compare the scores.",
)
app.command(
    "plait.cli.results:score",
    name="score",
    help="Score a trained model on its test part or on data that it has not seen, and its "
    "baselines.\n\nExample: plait score runs/text-presidents --data other.txt",
)
app.command(
    "plait.cli.results:predict",
    name="predict",
    help="Write what a trained model predicts to a file.\n\nExample: plait predict runs/speeds "
    "--data recent.csv --out forecast.csv",
)
