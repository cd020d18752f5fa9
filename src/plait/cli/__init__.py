"""The command line. Flags are the fields of the tasks' configurations; torch comes when needed."""

from plait.cli.entry import app, main, run

# each of these adds its commands to the app, in the order in which help shows them
from plait.cli import training, datasets, results, writing, study, help  # isort: skip # noqa: F401

__all__ = ["app", "main", "run"]
