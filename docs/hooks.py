"""What pages of the site say of the command line, taken from the command line itself.

In a page, `<!-- help: generate -->` becomes what `plait generate --help` prints, and `<!-- options:
text -->` a table of the options that `plait train text` has in addition to those of every training
(`<!-- options: training -->`).
"""

import io
import re
from collections.abc import Iterable
from dataclasses import Field, fields
from typing import Any

from rich.console import Console

from plait.cli import app
from plait.tasks import config_class
from plait.training.config import TrainingConfig, choices_of

MARK = re.compile(r"^<!-- (help|options): (.+) -->$", re.M)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the marks of a page; MkDocs calls it."""
    fill = {"help": _help, "options": _options}
    return MARK.sub(lambda mark: fill[mark[1]](mark[2]), markdown)


def _help(command: str) -> str:
    """Give the help of a command as a block."""
    said = io.StringIO()
    app.help_print(command.split(), console=Console(file=said, width=88))
    lines = [line.rstrip() for line in said.getvalue().strip().splitlines()]
    return "\n".join(["```text", *lines, "```"])


def _options(task: str) -> str:
    """Give the options of a task, or of every training, as a table."""
    shared = {f.name for f in fields(TrainingConfig)}
    if task == "training":
        return _table(fields(TrainingConfig))
    config = config_class(task)
    table = _table(f for f in fields(config) if f.name not in shared)
    own = {f.name: f.default for f in fields(config) if f.name in shared}
    others = {f.name: f.default for f in fields(TrainingConfig)}
    differ = [f"`{_flag(n)} {v}`" for n, v in own.items() if v != others[n]]
    if differ:
        table += f"\n\nOf those of every training, other defaults: {', '.join(differ)}."
    if config.recipes:
        table += f"\n\nRecipes: {', '.join(f'`{name}`' for name in config.recipes)}."
    return table


def _table(options: Iterable[Field[Any]]) -> str:
    lines = ["| option | default | what it says |", "|---|---|---|"]
    for option in options:
        default = f"`{option.default}`" if str(option.default) else "–"
        text = option.metadata["help"].replace("|", "\\|")
        choices = ", ".join(f"`{choice}`" for choice in choices_of(option))
        lines.append(f"| `{_flag(option.name)}` | {default} | {text}{_among(choices)} |")
    return "\n".join(lines)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _among(choices: str) -> str:
    return f" One of {choices}." if choices else ""
