"""How docstrings are read for the site: examples are examples, and equations are typeset."""

import re
import sys
from pathlib import Path

from griffe import Extension, Object

sys.path.append(str(Path(__file__).parent))
from equations import is_equation, typeset

HEADING = re.compile(r"^Example\n-+$", re.M)
DOCTEST = re.compile(r"^>>> ", re.M)
SECTIONS = re.compile(r"(?=^\w+\n---+$)", re.M)
PARAGRAPHS = re.compile(r"(\n\s*\n)")
CODE = re.compile(r"(`[^`]+`)")
MARKS = re.compile(r"(?<!^)([*_])", re.M)


class Plain(Extension):
    """Names the sections of examples as griffe knows them, typesets equations, keeps stars."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Change a docstring before it is read."""
        if obj.docstring is None:
            return
        text = HEADING.sub("Examples\n--------", obj.docstring.value)
        if "Examples\n--------" not in text:
            text = DOCTEST.sub("Examples\n--------\n>>> ", text, count=1)
        prose, *sections = SECTIONS.split(text, maxsplit=1)
        parts = [_as_markdown(part) for part in PARAGRAPHS.split(prose)]
        obj.docstring.value = "".join([*parts, *sections])


def _as_markdown(paragraph: str) -> str:
    """Return a paragraph with its equations typeset, or stars and underlines as they are."""
    if is_equation(paragraph):
        return typeset(paragraph)
    parts = CODE.split(paragraph)  # every second one is code
    parts[::2] = [MARKS.sub(r"\\\1", part) for part in parts[::2]]
    return "".join(parts)
