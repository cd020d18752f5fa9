"""Equations in MathML, which browsers render without any help."""

import re

from markupsafe import Markup, escape

from plait.study.page import Formula


def formula(spoken: str, *parts: str) -> Formula:
    """Return parts in a row as one displayed equation; `spoken` is its text for screen readers."""
    return Formula(Markup(f'<math display="block">{row(*parts)}</math>'), spoken)


def row(*parts: str) -> str:
    """Return parts in a row; a bare string is split into names, numbers and operators."""
    return f"<mrow>{''.join(p if p.startswith('<') else _bare(p) for p in parts)}</mrow>"


def fraction(above: str, below: str) -> str:
    """Return a fraction."""
    return f"<mfrac>{row(above)}{row(below)}</mfrac>"


def indexed(base: str, below: str = "", above: str = "") -> str:
    """Return a base with a subscript, a superscript or both."""
    if not above:
        return f"<msub>{row(base)}{row(below)}</msub>"
    if not below:
        return f"<msup>{row(base)}{row(above)}</msup>"
    return f"<msubsup>{row(base)}{row(below)}{row(above)}</msubsup>"


def bounded(sign: str, below: str, above: str = "") -> str:
    """Return a sum or product sign with its bounds."""
    if not above:
        return f"<munder><mo>{sign}</mo>{row(below)}</munder>"
    return f"<munderover><mo>{sign}</mo>{row(below)}{row(above)}</munderover>"


def _bare(text: str) -> str:
    """Return names as identifiers, digits as numbers and the rest as operators.

    >>> from plait.study.mathml import row
    >>> row("t=1")
    '<mrow><mi>t</mi><mo>=</mo><mn>1</mn></mrow>'
    """
    parts = re.findall(r"[^\W\d_]+|\d+(?:\.\d+)?|\S", text)
    tags = ("mi" if p[0].isalpha() else "mn" if p[0].isdigit() else "mo" for p in parts)
    return "".join(f"<{t}>{escape(p)}</{t}>" for t, p in zip(tags, parts, strict=True))
