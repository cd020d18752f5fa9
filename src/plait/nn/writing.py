"""A recurrent layer between an embedding and an output, as one compiled loop that writes on."""

import numpy as np
from torch import Tensor, nn

from plait.kernels import fused
from plait.kernels.writer import Draw, Layer, Writer
from plait.nn.cells import State, equations
from plait.nn.operators import Dense
from plait.nn.recurrent import Recurrent
from plait.nn.strand import Strand
from plait.sampling import Sampling


class CompiledWriter:
    """Writes on from a state: symbol, embedding, recurrence, output, draw, next symbol.

    Parameters
    ----------
    embedding : Tensor `[V, F]`
        What the first layer hears of each symbol.
    recurrent : Recurrent
        A built-in cell with the `Dense` operator, in one direction.
    output : nn.Linear
    state : tuple of Tensor `[layers, B, H]`
    """

    def __init__(
        self, embedding: Tensor, recurrent: Recurrent, output: nn.Linear, state: State
    ) -> None:
        layers: list[Layer] = []
        for strand in recurrent.strands:
            assert isinstance(strand, Strand)
            assert strand.bias is not None
            W, U = strand.inputs["weight"], strand.recurrent["weight"]
            layers.append(Layer(W, U, strand.bias, strand.extra()))
        algebra = fused.ALGEBRAS[str(equations(recurrent.cell))]
        self.writer = Writer(algebra, layers, embedding, output.weight, output.bias, state)

    @staticmethod
    def can_run(recurrent: Recurrent) -> bool:
        """Say whether there is a compiled loop for this layer here."""
        name = equations(recurrent.cell)
        return (
            name is not None
            and type(recurrent.operator) is Dense
            and not recurrent.bidirectional
            and fused.choice(name, next(recurrent.parameters())).fused is not None
        )

    def write(self, last: Tensor, uniform: np.ndarray, sampling: Sampling) -> Tensor:
        """Go on after the symbols `last [B]`, each drawn by a number of `uniform [steps, B]`."""
        top_p = sampling.top_p or 1.0
        draw = Draw(
            float(sampling.beta), min(sampling.top_k or 0, 2**31), top_p if top_p < 1 else 0.0,
            float(sampling.min_p or 0.0),
        )  # fmt: skip
        return self.writer.write(last, uniform, draw).long()
