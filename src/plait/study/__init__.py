"""The study: the report that the project began with, measured anew and told on one page."""

from plait.study.making import SECTIONS, make_study

__all__ = ["SECTIONS", "make_study"]
