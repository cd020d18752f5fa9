"""The command line. Flags are the fields of the tasks' configurations; torch is imported lazily."""

from plait.cli.entry import app, main, run

# each module adds its commands to the app, in the order of messages; help lists them by name
from plait.cli import runs, datasets, graphs, exporting, writing, serving, study, help  # isort: skip # noqa: F401

__all__ = ["app", "main", "run"]
