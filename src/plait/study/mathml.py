"""Equations in MathML, which browsers set without any help: a few words to write them with."""

import re

from markupsafe import Markup, escape

from plait.study.page import Formula


def formula(said: str, *parts: str) -> Formula:
    """Set parts side by side as one displayed equation; `said` is for who cannot see it."""
    return Formula(Markup(f'<math display="block">{row(*parts)}</math>'), said)


def row(*parts: str) -> str:
    """Set parts side by side; a bare string is names, numbers and signs."""
    return f"<mrow>{''.join(p if p.startswith('<') else _bare(p) for p in parts)}</mrow>"


def over(above: str, below: str) -> str:
    """Set a fraction."""
    return f"<mfrac>{row(above)}{row(below)}</mfrac>"


def at(base: str, below: str = "", above: str = "") -> str:
    """Set an index and an exponent."""
    if not above:
        return f"<msub>{row(base)}{row(below)}</msub>"
    if not below:
        return f"<msup>{row(base)}{row(above)}</msup>"
    return f"<msubsup>{row(base)}{row(below)}{row(above)}</msubsup>"


def whole(sign: str, below: str, above: str = "") -> str:
    """Set a sum or a product with its bounds."""
    if not above:
        return f"<munder><mo>{sign}</mo>{row(below)}</munder>"
    return f"<munderover><mo>{sign}</mo>{row(below)}{row(above)}</munderover>"


def _bare(text: str) -> str:
    """Set names as names, numbers as numbers and the rest as signs.

    >>> from plait.study.mathml import row
    >>> row("t=1")
    '<mrow><mi>t</mi><mo>=</mo><mn>1</mn></mrow>'
    """
    parts = re.findall(r"[^\W\d_]+|\d+(?:\.\d+)?|\S", text)
    tags = ("mi" if p[0].isalpha() else "mn" if p[0].isdigit() else "mo" for p in parts)
    return "".join(f"<{t}>{escape(p)}</{t}>" for t, p in zip(tags, parts, strict=True))
