"""Random equations, compiled, against plain torch in float64."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from random_cells import RandomCell, random_cells

from plait import Chebyshev, Graph
from plait.kernels.cpu.kernel import CompiledLoops
from plait.testing import check_kernel

NET = Graph.from_edges([(0, 1), (1, 2), (2, 3)]).to_undirected()
OPTIONS = {
    "deadline": None, "derandomize": True, "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}  # fmt: skip


@settings(max_examples=4, **OPTIONS)
@given(random_cells())
def test_random_equations_compiled_are_those_in_torch(cell: RandomCell):
    assert check_kernel(CompiledLoops(), cell, hidden_size=19)


@settings(max_examples=2, **OPTIONS)
@given(random_cells())
def test_random_equations_over_a_graph_too(cell: RandomCell):
    assert check_kernel(CompiledLoops(), cell, operator=Chebyshev(3), graph=NET)


@pytest.mark.slow
@settings(max_examples=100, **OPTIONS)
@given(random_cells())
def test_a_hundred_random_cells(cell: RandomCell):
    assert check_kernel(CompiledLoops(), cell, hidden_size=19)
