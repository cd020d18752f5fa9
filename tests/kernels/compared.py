"""A kernel's pass and plain torch's, of the same layer, inputs and start states."""

import copy

import torch

from plait import Graph
from plait.kernels.reference import Reference


def compared(kernel, layer, T, B, *, device="cpu", graph=None, lengths=None, precise=True):
    """Return outputs, final states and all gradients, of the kernel and of plain torch.

    Plain torch computes in float64; without `precise` in float32, with the same random numbers.
    """
    found, H = [], layer.hidden_size
    nodes = [5] if hasattr(layer.operator, "check") else []
    if isinstance(graph, Graph):
        nodes, graph = [graph.num_nodes], graph.to(device)
    x, width = torch.randn(T, B, *nodes, 3), H * (2 if layer.bidirectional else 1)
    start = tuple(torch.randn(len(layer.directions), B, *nodes, H) for _ in layer.cell.states)
    weighting = [torch.randn(T, B, *nodes, width), *(torch.randn(s.shape) for s in start)]
    for one_kernel, dtype in ((kernel, torch.float32), (Reference(), torch.float64)):
        dtype = dtype if precise else torch.float32
        one = copy.deepcopy(layer).to(device, dtype)
        one.kernels = [one_kernel]
        given = [t.to(device, dtype).requires_grad_() for t in (x, *start)]
        torch.manual_seed(3)
        state = tuple(given[1:]) if len(start) > 1 else given[1]
        y, final = one(given[0], state, graph=graph, lengths=lengths)
        outputs = (y, *(final if isinstance(final, tuple) else (final,)))
        loss = sum((o * w.to(o)).sum() for o, w in zip(outputs, weighting, strict=True))
        grads = torch.autograd.grad(loss, [*given, *one.parameters()], materialize_grads=True)
        found.append(tuple(t.detach().double() for t in (*outputs, *grads)))
    return found
