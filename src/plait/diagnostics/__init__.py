"""Diagnostics of a model: its parameters, and its gradient flow through time."""

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
