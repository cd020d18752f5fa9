"""How docstrings are read for the site: examples are examples, and equations no Markdown."""

import re

from griffe import Extension, Object

HEADING = re.compile(r"^Example\n-+$", re.M)
DOCTEST = re.compile(r"^>>> ", re.M)
SECTIONS = re.compile(r"(?=^\w+\n---+$)", re.M)
CODE = re.compile(r"(`[^`]+`)")
MARKS = re.compile(r"(?<!^)([*_])", re.M)


class Plain(Extension):
    """Names the sections of examples as griffe knows them, and keeps stars and underlines."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Change a docstring before it is read."""
        if obj.docstring is None:
            return
        text = HEADING.sub("Examples\n--------", obj.docstring.value)
        if "Examples\n--------" not in text:
            text = DOCTEST.sub("Examples\n--------\n>>> ", text, count=1)
        prose, *sections = SECTIONS.split(text, maxsplit=1)
        parts = CODE.split(prose)  # every second one is code
        parts[::2] = [MARKS.sub(r"\\\1", part) for part in parts[::2]]
        obj.docstring.value = "".join([*parts, *sections])
