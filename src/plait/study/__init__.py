"""The study: the report that the project began with, measured anew and shown on one page."""

from plait.study.command import make_study
from plait.study.sections import SECTIONS

__all__ = ["SECTIONS", "make_study"]
