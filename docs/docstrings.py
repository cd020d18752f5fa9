"""How docstrings are read for the site: an example is an example, whatever stands above it."""

import re

from griffe import Extension, Object

HEADING = re.compile(r"^Example\n-+$", re.M)
DOCTEST = re.compile(r"^>>> ", re.M)


class Examples(Extension):
    """Names the sections of examples as griffe knows them."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Rename "Example", and give examples without a heading one."""
        if obj.docstring is None:
            return
        text = HEADING.sub("Examples\n--------", obj.docstring.value)
        if "Examples\n--------" not in text:
            text = DOCTEST.sub("Examples\n--------\n>>> ", text, count=1)
        obj.docstring.value = text
