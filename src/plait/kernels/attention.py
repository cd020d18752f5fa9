"""Attention over the edges of a graph, without a number for each edge and feature.

What is kept for the backward pass lies on the nodes; scores and coefficients are computed again.
Three kernels do so: compiled loops on a CPU in float32 (`cpu.attention`, `cpu.attention2`), Triton
on a GPU in float32 (`gpu.attention`), and operations of torch, a few heads at a time
(`attention_blocks`). None can be differentiated: for the gradient of a gradient, under `torch.func`
and with features of the edges, plain operations on all edges are used.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from plait.kernels import attention_blocks
from plait.kernels.cpu import attention as version1
from plait.kernels.cpu import attention2 as version2
from plait.kernels.cpu.simd import LANES
from plait.kernels.edge_sums import Ends, add_at, take, total
from plait.kernels.gpu import attention as on_gpu
from plait.kernels.handles import VERSION
from plait.kernels.sparse import index_type, offsets
from plait.kernels.transforms import compiling, exactly, transformed, wide

SLOPE = 0.2
"""Of LeakyReLU below zero."""


class Neighbourhood(NamedTuple):
    """The edges by their target; `back_…` the same by their source."""

    starts: Tensor  # [N + 1], where each target's edges begin
    sources: Tensor  # [E]
    targets: Tensor  # [E]
    long_starts: Tensor  # [N + 1], in 64 bits, as a segment's maximum wants them
    back_starts: Tensor  # [N + 1]
    back_targets: Tensor  # [E]
    back_order: Tensor  # [E], the edges ordered by source

    @property
    def ends(self) -> tuple[Ends, Ends]:
        """The sources and the targets, in 64 bits, with which sums are many times as fast."""
        sources, targets, N = self.sources.long(), self.targets.long(), len(self.starts) - 1
        return (
            Ends(sources, N, self.back_starts, self.back_order), Ends(targets, N, self.starts)
        )  # fmt: skip


def neighbourhood(sources: Tensor, targets: Tensor, nodes: int) -> Neighbourhood:
    """Sort edges both ways. Every node must be a target."""
    kind = index_type(nodes, len(sources))
    order = torch.argsort(targets * nodes + sources)
    sources, targets = sources[order], targets[order]
    back = torch.argsort(sources, stable=True)
    starts = offsets(targets, nodes)
    return Neighbourhood(
        starts.to(kind), sources.to(kind), targets.to(kind), starts,
        offsets(sources, nodes).to(kind), targets[back].to(kind), back.to(kind),
    )  # fmt: skip


def neighbourhood_of(graph: Any) -> Neighbourhood:
    """Return the nodes that each node aggregates: its neighbours and itself."""

    def make() -> Neighbourhood:
        source, target = graph.edge_index
        apart = source != target
        nodes = torch.arange(graph.num_nodes, device=graph.device)
        return neighbourhood(
            torch.cat([source[apart], nodes]), torch.cat([target[apart], nodes]), graph.num_nodes
        )

    return graph.cached("neighbourhood", make)


class TracedNeighbourhood(NamedTuple):
    """The edges of a neighbourhood as a compiler traces them: how many, it learns at each call."""

    sources: Tensor  # [E]
    ends: tuple[Ends, Ends]


def traced_neighbourhood(graph: Any) -> tuple[TracedNeighbourhood, Tensor]:
    """Return a graph's neighbourhood within a compiled program, and its edges' features."""
    found: list[Tensor] = torch.ops.plait.neighbourhood(graph.handle, graph.edge_features, VERSION)
    sources, targets, features = found
    N = graph.num_nodes
    return TracedNeighbourhood(sources, (Ends(sources, N), Ends(targets, N))), features


def edge_features_of(graph: Any) -> Tensor:
    """Return the features of a neighbourhood's edges, `[E, D]`; a self-loop has the others' mean.

    The mean is over the edges into the node; where there are none it is 0.
    """

    def make() -> Tensor:
        (source, target), N = graph.edge_index, graph.num_nodes
        apart = source != target
        source, target, own = source[apart], target[apart], graph.edge_features[apart]
        summed = add_at(own.new_zeros(N, own.shape[1]), target, own)
        mean = summed / torch.bincount(target, minlength=N).clamp(min=1)[:, None]
        nodes = torch.arange(N, device=graph.device)
        order = torch.argsort(torch.cat([target * N + source, nodes * N + nodes]))
        return torch.cat([own, mean])[order]

    return graph.cached("features of the neighbourhood", make)


class Lanes(NamedTuple):
    """How a row of K heads lies: as `[G, P, W]`, W heads side by side in each of G groups.

    The channels of a group are filled up to a multiple of `step`, the heads to G · W, with zeros.
    """

    heads: int
    groups: int
    width: int
    step: int

    def pack(self, x: Tensor) -> Tensor:
        """Lay `[..., K, D]` as `[..., G, P, W]`."""
        heads, channels = self.groups * self.width - self.heads, -x.shape[-1] % self.step
        if heads or channels:
            x = F.pad(x, (0, channels, 0, heads))
        return x.unflatten(-2, (self.groups, self.width)).transpose(-1, -2)

    def unpack(self, x: Tensor, channels: int) -> Tensor:
        """Lay `[..., G, P, W]` as `[..., K, channels]`."""
        return x.transpose(-1, -2).flatten(-3, -2)[..., : self.heads, :channels]


def lanes(like: Tensor, heads: int, channels: int, *, vector: bool) -> Lanes:
    """Choose how rows lie: for version 2 in compiled loops, so that vectors are full.

    >>> import torch
    >>> from plait.kernels.attention import lanes
    >>> lanes(torch.ones(1).double(), heads=3, channels=5, vector=True)
    Lanes(heads=3, groups=3, width=1, step=1)
    """
    if not vector or not has_loops(like):
        return Lanes(heads, heads, 1, 1)

    def cost(width: int) -> tuple[int, int, int]:  # vectors of a row, and some work for each group
        groups = -(-heads // width)
        return groups * (-(-channels * width // LANES) + 2), groups, width

    *_, width = sorted([cost(2**k) for k in range(LANES.bit_length())])[0]
    return Lanes(heads, -(-heads // width), width, LANES // width)


def has_loops(like: Tensor) -> bool:
    """Return whether compiled loops run for tensors like this."""
    cpu = like.device.type == "cpu" and (compiling() or not transformed(like))
    return cpu and wide(like.dtype) == torch.float32


def attend(
    values: Tensor,
    left: Tensor,
    right: Tensor,
    vector: Tensor | None,
    hood: Neighbourhood,
    dropout: float = 0.0,
) -> Tensor:
    """Return for every node the mean of its neighbours' values, weighted by attention, in K heads.

    y_i = Σ_j α_ij v_j,  α_i = softmax over the neighbours j of i of e_ij, where

    e_ij = LeakyReLU(left_j + right_i), or aᵀ LeakyReLU(left_j + right_i) with a vector a

    Parameters
    ----------
    values : Tensor `[B, N, K, D]`
    left, right : Tensor `[B, N, K]`, or with a vector `[B, N, K, d]`
    vector : Tensor `[K, d]`, or None
    hood : Neighbourhood
    dropout : float
        Share of the coefficients set to zero, the others scaled up. The mask is drawn again in
        the backward pass from a seed, which comes from torch's generator.

    Returns
    -------
    Tensor `[B, N, K, D]`
        Of the type of `values`; half precision is computed in float32. It can be differentiated
        any number of times: the second gradient takes plain operations on all edges.

    Raises
    ------
    ValueError
        For tensors of different types or devices, or shapes that do not fit; both are named.
    """
    K, D = values.shape[-2:]
    lay = lanes(values, K, D, vector=vector is not None)
    packed = lay.pack(values)
    if vector is None:
        sides = left[..., None], right[..., None], None
    else:
        own = packed if left is values else lay.pack(left)
        sides = own, lay.pack(right), lay.pack(vector)
    return lay.unpack(attend_packed(packed, *sides, hood, lay, dropout), D)


def attend_packed(
    values: Tensor,
    left: Tensor,
    right: Tensor,
    vector: Tensor | None,
    hood: Neighbourhood | TracedNeighbourhood | Tensor,
    lay: Lanes,
    dropout: float = 0.0,
    edges: Tensor | None = None,
    drawn: Tensor | None = None,
) -> Tensor:
    """Do what `attend` does with rows that lie as `lay` says.

    Values are `[B, N, G, P, W]` and so is what is returned; left and right `[B, N, G, W]`, or with
    a vector `[G, p, W]` of the form of the values. Under a compiler the neighbourhood is the handle
    of its graph, or with `edges` traced. `edges`, of the form of left and right but with B = 1 and
    a row for every edge, is added within LeakyReLU. `drawn` says which coefficients dropout keeps,
    as `draw` returns them.
    """
    if isinstance(hood, Neighbourhood):
        _check(values, left, right, vector, hood)
    kind = values.dtype
    if any(t is not None and t.dtype != wide(t.dtype) for t in (values, left, right, vector)):
        vector = None if vector is None else vector.float()
        sides = left.float(), right.float(), vector
        edges = None if edges is None else edges.float()
        return attend_packed(values.float(), *sides, hood, lay, dropout, edges, drawn).to(kind)
    if isinstance(hood, Tensor):
        seeded = torch.randint(2**40, (1,)) if dropout else None
        return torch.ops.plait.attend(
            values, left, right, vector, hood, list(lay), dropout, seeded, VERSION
        )[0]  # fmt: skip
    with exactly(values):
        if edges is not None or transformed(values, left, right, vector):
            if drawn is not None:
                masks = _masks_of(values, lay, dropout, drawn)
            else:
                masks = values.new_ones(values.shape[0], len(hood.sources), lay.heads)
                masks = _spread(F.dropout(masks, dropout), lay) if dropout else masks[:0]
            return formula(values, left, right, vector, hood, masks, edges)
        seed = _seed() if dropout and drawn is None else 0
        options = hood, lay, dropout, seed if drawn is None else drawn
        return _Attend.apply(values, left, right, vector, *options)  # pyright: ignore[reportReturnType]


def draw(batch: int, hood: Neighbourhood, heads: int, dropout: float) -> Tensor:
    """Draw which coefficients dropout keeps, bool `[batch, E, heads]`."""
    return _kept((batch, len(hood.sources), heads), hood, dropout, _seed())


def _seed() -> int:
    return int(torch.randint(2**62, ()))


def formula(
    values: Tensor, left: Tensor, right: Tensor, vector: Tensor | None,
    hood: Neighbourhood | TracedNeighbourhood, masks: Tensor, edges: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Compute what `attend_packed` does by plain operations on all edges, to any derivative."""
    B, N = values.shape[:2]
    sources, targets = hood.ends
    scores = take(left, sources, 1) + take(right, targets, 1)
    scores = F.leaky_relu(scores if edges is None else scores + edges, SLOPE)
    if vector is not None:
        scores = (scores * vector).sum(-2)  # [B, E, G, W]
    none = scores.new_zeros(B, N, *scores.shape[2:])
    index = targets.nodes.view(1, -1, 1, 1).expand(scores.shape)
    top = none.scatter_reduce(1, index, scores.detach(), "amax", include_self=False)
    a = (scores - take(top, targets, 1)).exp()
    a = a / take(total(a, targets, 1), targets, 1)
    if len(masks):
        a = a * masks
    return total(a[..., None, :] * take(values, sources, 1), targets, 1)  # of [B, E, G, P, W]


class _Attend(Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, left: Tensor, right: Tensor, vector: Tensor | None,
        hood: Neighbourhood, lay: Lanes, dropout: float, drawn: int | Tensor,
    ) -> Tensor:  # fmt: skip
        ctx.hood, ctx.lay, ctx.dropout, ctx.drawn = hood, lay, dropout, drawn
        kept = forward(values, left, right, vector, hood, lay, dropout, drawn)
        ctx.save_for_backward(values, left, right, vector, *kept)
        return kept[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        values, left, right, vector, *kept = ctx.saved_tensors
        inputs = values, left, right, vector
        with exactly(values):
            if torch.is_grad_enabled() or transformed(grads[0]):
                masks = _masks(values, ctx.hood, ctx.lay, ctx.dropout, ctx.drawn)
                changes = _plain_gradient(grads[0], inputs, ctx.hood, masks)
            else:
                options = ctx.hood, ctx.lay, ctx.dropout, ctx.drawn
                changes = backward(grads[0], inputs, kept, *options)
        return *changes, None, None, None, None


def forward(
    values: Tensor, left: Tensor, right: Tensor, vector: Tensor | None, hood: Neighbourhood,
    lay: Lanes, dropout: float, drawn: int | Tensor,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Return what `attend_packed` does, and what the gradient wants.

    `drawn` is what `draw` returns, or a seed by which the same is drawn again.
    """
    kernel = _kernel(values, left, vector, hood)
    masks = _masks(values, hood, lay, dropout, drawn)
    return kernel.forward(*_in_memory(values, left, right, vector), hood, masks, SLOPE)


def backward(
    grad: Tensor, inputs: tuple[Tensor, Tensor, Tensor, Tensor | None],
    kept: Sequence[Tensor], hood: Neighbourhood, lay: Lanes, dropout: float,
    drawn: int | Tensor,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Return the gradients of values, left, right and vector."""
    values, left, _, vector = inputs
    kernel = _kernel(values, left, vector, hood)
    masks = _masks(values, hood, lay, dropout, drawn)
    return kernel.backward(*_in_memory(grad, *inputs), hood, masks, *kept, SLOPE)


def kept_shapes(values: Tensor, left: Tensor, vector: Tensor | None) -> list[tuple[int, ...]]:
    """Return the shapes of what `forward` returns, on a graph whose indices take 32 bits."""
    B, N, G, P, W = values.shape
    kernel = _kernel(values, left, vector, None)
    if kernel is on_gpu:
        more = [] if vector is not None else [(B, N, G, P), (B, N, G)]
        return [tuple(values.shape), (B, N, G), *more]
    if kernel is version1:
        return [tuple(values.shape), tuple(values.shape), tuple(left.shape), tuple(left.shape)]
    return [tuple(values.shape), (B * G * W, N) if kernel is attention_blocks else (B, N, G, W)]


def _kernel(values: Tensor, left: Tensor, vector: Tensor | None, hood: Neighbourhood | None) -> Any:
    if on_gpu.can_run(values, left, hood):
        return on_gpu
    if not has_loops(values) or (hood is not None and hood.starts.dtype != torch.int32):
        return attention_blocks
    if vector is None:
        return version1 if values.shape[-1] == 1 else attention_blocks
    full = all(t.shape[-2] * t.shape[-1] % LANES == 0 for t in (values, left))
    return version2 if full else attention_blocks


def _plain_gradient(
    grad: Tensor, inputs: tuple[Tensor | None, ...], hood: Neighbourhood, masks: Tensor
) -> tuple[Tensor | None, ...]:
    """Return the gradients by operations that can be differentiated again."""
    with torch.enable_grad():
        # views: a gradient by a tensor itself would include what the others owe to it
        own = [None if t is None else t.view_as(t) for t in inputs]
        y = formula(own[0], own[1], own[2], own[3], hood, masks)  # pyright: ignore[reportArgumentType]
    wanted = [t for t in own if t is not None and t.requires_grad]
    create = torch.is_grad_enabled()
    found = iter(torch.autograd.grad(y, wanted, grad, create_graph=create, retain_graph=create))
    return tuple(next(found) if t is not None and t.requires_grad else None for t in own)


def _masks(
    like: Any, hood: Neighbourhood, lay: Lanes, dropout: float, drawn: int | Tensor
) -> Tensor:
    """Return what the coefficients `[B, E, G, W]` are multiplied by; nothing without dropout."""
    if not dropout:
        return like.new_empty(0)
    if isinstance(drawn, int):
        drawn = _kept((len(like), len(hood.sources), lay.heads), hood, dropout, drawn)
    return _masks_of(like, lay, dropout, drawn)


def _masks_of(like: Tensor, lay: Lanes, dropout: float, drawn: Tensor) -> Tensor:
    return _spread(drawn.to(like.dtype).div_(1 - dropout), lay)


def _kept(shape: tuple[int, ...], hood: Neighbourhood, dropout: float, seed: int) -> Tensor:
    device = hood.starts.device
    generator = torch.Generator(device).manual_seed(seed)
    return torch.empty(shape, device=device).uniform_(generator=generator) < 1 - dropout


def _spread(heads: Tensor, lay: Lanes) -> Tensor:
    """Lay `[..., K]` as `[..., G, W]`."""
    filled = F.pad(heads, (0, lay.groups * lay.width - lay.heads))
    return filled.unflatten(-1, (lay.groups, lay.width))


def _in_memory(*tensors: Any) -> tuple[Any, ...]:
    """Return tensors that are what their memory says."""
    return tuple(None if t is None else t.resolve_neg().contiguous() for t in tensors)


def _check(
    values: Tensor, left: Tensor, right: Tensor, vector: Tensor | None, hood: Neighbourhood
) -> None:
    B, N, G, _, W = values.shape
    sides = (B, N, G, W) if vector is None else (B, N, G, vector.shape[1], W)
    for name, t, shape in (
        ("left", left, sides),
        ("right", right, sides),
        ("vector", vector, sides[2:]),
    ):
        if t is None:
            continue
        if wide(t.dtype) != wide(values.dtype):
            raise ValueError(f"values are {values.dtype}, {name} {t.dtype}; convert one with .to()")
        if t.device != values.device:
            raise ValueError(f"values are on {values.device}, {name} on {t.device}")
        if t.shape != shape:
            raise ValueError(f"{name} must be {list(shape)}; got shape {list(t.shape)}")
    if not values.dtype.is_floating_point:
        raise ValueError(f"values must be floating point numbers, not {values.dtype}")
    if len(hood.starts) != N + 1:
        raise ValueError(f"values are of {N} nodes, the neighbourhood of {len(hood.starts) - 1}")
    if hood.starts.device != values.device:
        raise ValueError(f"values are on {values.device}, the graph on {hood.starts.device}")
