"""Embedding, recurrent layer and output as one loop that generates text.

On a CPU the loop is compiled; on a GPU a step is one CUDA graph.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.kernels.cpu.generation import Draw, Generator, LayerWeights
from plait.kernels.cpu.kernel import CompiledLoops, compiled_program
from plait.kernels.cpu.rounding import Kind
from plait.kernels.gpu.generation import RecordedLoop
from plait.kernels.gpu.graphs import Recorder, refusal
from plait.kernels.gpu.recorded import make_recorder
from plait.kernels.kernel import Call
from plait.nn.cell import State
from plait.nn.layer import Layer
from plait.nn.operators import Dense
from plait.nn.recurrent import Recurrent
from plait.sampling import Sampler, Sampling


class CompiledGenerator:
    """Generate symbols from a state: embedding, recurrence, output, draw, next symbol.

    Parameters
    ----------
    embedding : Tensor `[V, F]`
        The input of the first layer for each symbol.
    recurrent : Recurrent
        A cell that can be traced with the `Dense` operator, in one direction.
    output : nn.Linear
    state : tuple of Tensor `[layers, B, H]`
    kind : "float32", "bfloat16" or "int8"
        The number format that the matrices were rounded to, in which they are read.

    Shapes
    ------
    symbols drawn last : `[B]`; uniform random numbers : `[steps, B]`; symbols : `[steps, B]`

    Raises
    ------
    Nothing, where `can_run` holds for the layer.
    """

    def __init__(
        self, embedding: Tensor, recurrent: Recurrent, output: nn.Linear, state: State,
        kind: Kind = "float32",
    ) -> None:  # fmt: skip
        layers: list[LayerWeights] = []
        for layer in recurrent.directions:
            assert isinstance(layer, Layer)
            W = layer.inputs["weight"]
            U = layer.recurrent["weight"] if layer.recurrent else W.new_empty(0, layer.hidden_size)
            layers.append(LayerWeights(W, U, layer.recurrent_gates, layer.all_vectors()))
        program = recurrent.directions[0].program(dropped=False)  # pyright: ignore[reportCallIssue]
        assert not isinstance(program, str)
        self.generator = Generator(
            compiled_program(program), layers, embedding, output.weight, output.bias, state, kind
        )

    @staticmethod
    def can_run(recurrent: Recurrent) -> bool:
        """Return whether this machine has a compiled loop for the layer."""
        weight = next(recurrent.parameters())
        call = Call(weight.detach()[:0], ())
        return (
            type(recurrent.operator) is Dense
            and not recurrent.bidirectional
            and all(p.dtype == torch.float32 for p in recurrent.parameters())
            and CompiledLoops().accepts(recurrent.directions[0], call) is None
        )

    def takes(self, sampling: Sampling) -> bool:
        """Return True: every way of drawing is compiled."""
        return True

    def generate(self, last: Tensor, uniform: np.ndarray, sampler: Sampler) -> Tensor:
        """Return the symbols after `last [B]`, drawn with `uniform [steps, B]`: `[steps, B]`.

        What the sampler remembers is brought up to date.
        """
        sampling = sampler.sampling
        draw = Draw(
            float(sampling.beta), min(sampling.top_k or 0, 2**31), _share(sampling.top_p),
            float(sampling.min_p or 0.0), _share(sampling.typical_p),
            float(sampling.mirostat or 0.0), sampling.no_repeat or 0,
            float(sampling.repetition_penalty or 1.0),
        )  # fmt: skip
        written = self.generator.generate(
            last, uniform, draw, sampler.past.int(), sampler.limit.numpy()
        ).long()
        if sampling.looks_back:
            sampler.past = torch.cat([sampler.past, written])
        return written


class RecordedGenerator:
    """Generate symbols from a state on a GPU, where a step is one CUDA graph.

    Parameters
    ----------
    embedding, recurrent, output, state
        As those of `CompiledGenerator`; the cell may be any.
    recorder : callable
        Makes what records on a device.
    """

    def __init__(
        self, embedding: Tensor, recurrent: Recurrent, output: nn.Linear, state: State,
        recorder: Callable[[torch.device], Recorder] = make_recorder,
    ) -> None:  # fmt: skip
        def step(symbols: Tensor, state: State) -> tuple[Tensor, State]:
            x = F.embedding(symbols[None], embedding)  # [1, B, F]
            (first, *more) = state
            h, final = recurrent(x, (first, *more) if more else first)
            return output(h)[0], final if isinstance(final, tuple) else (final,)

        self.loop = RecordedLoop(step, state, state[0].shape[1], recorder(state[0].device))

    @staticmethod
    def can_run(recurrent: Recurrent) -> bool:
        """Return whether a step may be recorded: on a GPU, with the `Dense` operator."""
        weight = next(recurrent.parameters())
        return (
            weight.is_cuda
            and type(recurrent.operator) is Dense
            and not recurrent.bidirectional
            and refusal() is None
        )

    def takes(self, sampling: Sampling) -> bool:
        """Return whether symbols are drawn by their logits alone, so that a step is recorded."""
        return not sampling.looks_back and sampling.mirostat is None

    def generate(self, last: Tensor, uniform: np.ndarray, sampler: Sampler) -> Tensor:
        """Return the symbols after `last [B]`, drawn with `uniform [steps, B]`: `[steps, B]`."""
        return self.loop.generate(last, uniform, sampler.sampling.draw)


def _share(mass: float | None) -> float:
    """Return a share to keep; 0, no filter, for all."""
    return mass if mass is not None and mass < 1 else 0.0
