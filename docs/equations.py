"""Equations of docstrings and pages, written as Unicode text, as MathML, which browsers typeset.

In a page, a block ```` ```math ```` is typeset; in a docstring, a paragraph that begins with an
equation: `i = σ(W_i x + b_i + U_i h),  f likewise`. Words between are text, `_` and `^` begin
subscripts and superscripts, in braces where they are long, and two spaces separate equations.
"""

import re
from collections.abc import Iterator
from html import escape

FUNCTIONS = {"tanh", "relu", "exp", "log", "max", "min", "mean", "var", "softmax", "step", "LN",
             "LeakyReLU", "state"}  # fmt: skip
"""Names of several letters that are set as functions; other words are text."""

RAISED = {"ᵀ": "⊤", "ʲ": "j", "ᵏ": "k", "⁰": "0", "¹": "1", "²": "2", "³": "3"}
LOWERED = {"ₙ": "n", "₀": "0", "₁": "1", "₂": "2"}

LETTER = f"(?![{''.join(RAISED)}{''.join(LOWERED)}])[^\\W\\d_]"
TOKEN = re.compile(
    r"(?P<code>`[^`]+`|[A-Za-z]{2,}(?:['’-][a-z]+)+|\b(?:of|in|is|as) a(?= [a-z]{2}))"
    rf"|(?P<name>[α-ωΑ-Ω∂]|(?:(?![α-ωΑ-Ω]){LETTER}[\u0300-\u036f]*)+)|(?P<number>\d+(?:\.\d+)?|½)"
    rf"|(?P<raised>[{''.join(RAISED)}]+)|(?P<lowered>[{''.join(LOWERED)}]+)"
    rf"|(?P<script>[_^](?:\{{[^}}]*\}}|[-−]?\d+(?:/\d+)?|(?:{LETTER})+))|(?P<prime>['~])"
    r"|(?P<space>\s+)|(?P<sign>\.\.|.)",
    re.S,
)
BEGINS = re.compile(r"(?:[a-z]+ [\"\w]+:\s+)?[^\W\d]\S{0,8}(?:, \w_t)?(?: \S{1,4}\))? = ")


def is_equation(paragraph: str) -> bool:
    """Return whether a paragraph of a docstring begins with an equation."""
    return BEGINS.match(paragraph.strip()) is not None and "==" not in paragraph


def typeset(text: str) -> str:
    """Return a paragraph as HTML: its equations as MathML, its words as they are."""
    parts = (_equation(part) for part in re.split(r"(?<=[,;])  +", text.strip()))
    return f'<div class="equation">{" ".join(parts)}</div>'


def _equation(text: str) -> str:
    out, row = list[str](), list[str]()

    def close() -> None:
        if row:
            out.append(f"<math><mrow>{''.join(row)}</mrow></math>")
            row.clear()

    for atom, is_text in _atoms(text):
        if is_text:
            close()
            out.append(atom)
        else:
            row.append(atom)
    close()
    joined = "".join(out)
    return f"<span>{joined}</span>"


def _atoms(text: str) -> Iterator[tuple[str, bool]]:
    """Yield parts of a row, each with its scripts, and whether it is text."""
    found = list(TOKEN.finditer(text))
    at = 0
    while at < len(found):
        mark, kind = found[at], found[at].lastgroup
        at += 1
        if kind == "space":
            yield " ", not (at < len(found) and _is_math(found[at]) and _is_math(found[at - 2]))
            continue
        after_word = at > 1 and not _is_math(found[at - 2]) and found[at - 2][0].strip()
        if kind == "code" or not _is_math(mark) or (mark[0] in ".,;:" and after_word):
            yield _words(mark[0]), True
            continue
        base, below, above = _base(mark, kind), "", ""
        if kind == "name" and at < len(found) and found[at].lastgroup == "number":  # S1
            below, at = f"<mn>{found[at][0]}</mn>", at + 1
        if mark[0] == "λ" and text.startswith("max", mark.end()):  # λmax
            below, at = "<mi>max</mi>", at + 1
        while at < len(found) and found[at].lastgroup in ("script", "raised", "lowered", "prime"):
            script, kind = found[at][0], found[at].lastgroup
            at += 1
            if script == "~":
                base = f"<mover>{base}<mo>~</mo></mover>"
            elif kind == "prime":
                above += "<mo>′</mo>"
            elif kind == "lowered":
                below += _row("".join(LOWERED[c] for c in script))
            elif kind == "raised":
                above += _row("".join(RAISED[c] for c in script))
            elif script[0] == "_":
                below += _row(script[1:].strip("{}"))
            else:
                above += _row(script[1:].strip("{}"))
        yield _scripted(base, below, above), False


def _is_math(mark: re.Match[str]) -> bool:
    if mark.lastgroup != "name":
        return mark.lastgroup not in ("code", "space")
    letters = re.sub("[\u0300-\u036f]", "", mark[0])
    return len(letters) == 1 or letters in FUNCTIONS or not letters.isascii()


def _base(mark: re.Match[str], kind: str | None) -> str:
    if mark[0] in "ΣΠ":
        return f"<mo>{'∑' if mark[0] == 'Σ' else '∏'}</mo>"
    tag = {"name": "mi", "number": "mn"}.get(kind or "", "mo")
    fixed = ' stretchy="false"' if mark[0] in "()[]|" else ""
    return f"<{tag}{fixed}>{escape(mark[0].replace('..', '…').replace('-', '−'))}</{tag}>"


def _row(text: str) -> str:
    """Return a script: letters as names, words and `in` and `out` as text."""
    if re.fullmatch(r"[a-z]{3,}|in", text):
        return f"<mtext>{text}</mtext>"
    letters = re.fullmatch(r"[^\W\d_]{2}", text)
    return "".join(
        f"<mtext>{part.replace(' ', '&#160;')}</mtext>" if is_text else part
        for part, is_text in _atoms(" ".join(text) if letters else text)
    )


def _scripted(base: str, below: str, above: str) -> str:
    if below and above:
        return f"<msubsup>{base}<mrow>{below}</mrow><mrow>{above}</mrow></msubsup>"
    if below:
        return f"<msub>{base}<mrow>{below}</mrow></msub>"
    return f"<msup>{base}<mrow>{above}</mrow></msup>" if above else base


def _words(text: str) -> str:
    return f"<code>{escape(text.strip('`'))}</code>" if text.startswith("`") else escape(text)
