"""What a model is made of, and how its gradient flows back through time."""

from plait.diagnostics.gradients import GradientFlow, LayerFlow, gradient_flow
from plait.diagnostics.parameters import ParameterCount, Term, count_parameters

__all__ = [
    "GradientFlow",
    "LayerFlow",
    "ParameterCount",
    "Term",
    "count_parameters",
    "gradient_flow",
]
