"""How formulas are written: plain text and LaTeX."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Notation:
    """How things are written."""

    times: str
    functions: dict[str, str]
    fraction: str
    weight: str  # of a matrix, a gate and what it multiplies
    transposed: str
    outer: str
    subscript: str
    numbered: str
    delta: str
    partial: str
    over_time: str
    where: str
    mean: str
    total: str


TEXT = Notation(
    times=" ⊙ ",
    functions={"sigmoid": "σ({})", "tanh": "tanh({})", "exp": "exp({})", "log": "log({})",
               "sqrt": "√({})", "abs": "|{}|", "relu": "max(0, {})", "maximum": "max({}, {})",
               "minimum": "min({}, {})"},
    fraction="{} / {}",
    weight="{} {}",
    transposed="{}ᵀ {}",
    outer="{} {}ᵀ",
    subscript="{}_{}",
    numbered="{}{}",
    delta="δ{}",
    partial="∂L/∂{}",
    over_time="Σ_t {}",
    where="({} where {}, else {})",
    mean="mean({})",
    total="sum({})",
)  # fmt: skip

LATEX = Notation(
    times=r" \odot ",
    functions={"sigmoid": r"\sigma({})", "tanh": r"\tanh({})", "exp": r"\exp({})",
               "log": r"\log({})", "sqrt": r"\sqrt{{{}}}", "abs": r"|{}|",
               "relu": r"\max(0, {})", "maximum": r"\max({}, {})", "minimum": r"\min({}, {})"},
    fraction=r"\frac{{{}}}{{{}}}",
    weight=r"{}\,{}",
    transposed=r"{}^\top {}",
    outer=r"{} {}^\top",
    subscript=r"{}_{{{}}}",
    numbered=r"{}_{{{}}}",
    delta=r"\delta {}",
    partial=r"\frac{{\partial L}}{{\partial {}}}",
    over_time=r"\sum_t {}",
    where=r"({} \text{{ where }} {} \text{{, else }} {})",
    mean=r"\operatorname{{mean}}({})",
    total=r"\operatorname{{sum}}({})",
)  # fmt: skip

SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "eq": "=", "ne": "≠"}
LATEX_SIGNS = SIGNS | {"ge": r"\ge", "le": r"\le", "ne": r"\ne"}
