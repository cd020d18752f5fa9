"""What pages of the site say of the command line, taken from the command line itself.

In a page, `<!-- help: generate -->` becomes what `plait generate --help` prints, and `<!-- options:
text -->` a table of the options that `plait train text` has in addition to those of every training
(`<!-- options: training -->`); `<!-- notebook: notebook.ipynb -->` the cells of a notebook in
docs/howto, with their outputs. A block ```` ```math ```` is typeset.
"""

import io
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from rich.console import Console

sys.path.append(str(Path(__file__).parent))
from equations import typeset

from plait.cli import app
from plait.tasks import config_class
from plait.training.config import TrainingConfig, choices_of

MATH = re.compile(r"^```math\n(.*?)\n```$", re.M | re.S)
MARK = re.compile(r"^<!-- (help|options|notebook): (.+) -->$", re.M)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the marks of a page; MkDocs calls it."""
    fill = {"help": _help, "options": _options, "notebook": _notebook}
    markdown = MATH.sub(lambda math: "\n".join(map(typeset, math[1].splitlines())), markdown)
    return MARK.sub(lambda mark: fill[mark[1]](mark[2]), markdown)


def _help(command: str) -> str:
    """Return the help of a command as a block."""
    said = io.StringIO()
    app.help_print(command.split(), console=Console(file=said, width=88))
    lines = [line.rstrip() for line in said.getvalue().strip().splitlines()]
    return "\n".join(["```text", *lines, "```"])


def _options(task: str) -> str:
    """Return the options of a task, or of every training, as a table."""
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


def _notebook(name: str) -> str:
    """Return the cells of a notebook as Markdown, each with what it put out."""
    content = (Path(__file__).parent / "howto" / name).read_text("utf-8")
    parts = []
    for cell in json.loads(content)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source.replace("# ", "## ", 1) if source.startswith("#") else source)
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [_output(output) for output in cell["outputs"]]
    return "\n\n".join(part for part in parts if part)


def _output(output: dict[str, Any]) -> str:
    """Return an output of a cell as Markdown."""
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    if "text/html" in data:
        html = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.S)
        one_line = html.strip().replace("\n", "&#10;")
        return f'<div class="output">{one_line}</div>'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""


def _table(options: Iterable[Field[Any]]) -> str:
    lines = ["| option | default | meaning |", "|---|---|---|"]
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
