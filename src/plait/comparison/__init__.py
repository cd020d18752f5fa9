"""Grids of runs: the same training with other options and seeds, and the differences.

(The call is `plait.compare`; a module of that name would hide it.)
"""

from plait.comparison.compare import Comparison, compare

__all__ = ["Comparison", "compare"]
