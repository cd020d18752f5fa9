"""`Recurrent`: any cell × any operator, over time."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from plait.kernels import fused, native
from plait.kernels.choice import Choice
from plait.nn.cells import Cell, State, equations
from plait.nn.filters import GCN, Chebyshev, Diffusion
from plait.nn.graph import Graph
from plait.nn.interchange import layer_of, module_of, torch_mode
from plait.nn.operators import Dense, Operator, OperatorLayer, checked_operator
from plait.nn.strand import Init, Strand

INPUT_GAIN, STATE_GAIN = 2.0, 4.0
"""Standard deviation of what reaches the gates at first, for inputs of unit variance."""


class Recurrent(OperatorLayer):
    r"""A recurrent layer, or a stack of them: a cell × an operator, run over time.

    In the layer above the input x, with the gates and the algebra of `cell` (see `RNN`, `LSTM`,
    `GRU`) and `*` the operator (`Dense`: the matrix product of `torch.nn`):

    state_t = step(W * x_t + b, U * h_{t−1}, state_{t−1}),  y_t = h_t

    The input side W * x + b is computed for the whole sequence before the loop over time.

    Parameters
    ----------
    cell : Cell
        Which gates, which states; `RNN()`, `LSTM()`, `GRU()`, or your own.
    input_size : int
        Features F of the input. 0 is allowed: a decoder that hears only itself.
    hidden_size : int
        Channels H of every state.
    operator : Operator
        How a node hears its neighbours, on the input side and on the recurrent side.
    layers : int
        Layer k + 1 reads the outputs of layer k.
    bidirectional : bool
        A second set of weights reads the sequence from its end; the outputs are joined.
    dropout : float
        Share of the outputs of every layer but the last set to zero in training.
    recurrent_dropout : float
        Share of the heard state's channels set to zero in training, the same ones at every step
        of a sequence (variational dropout; Gal & Ghahramani 2016).
    batch_first : bool
        `x` and `y` have the batch before the time.
    init : "orthogonal", "torch" or "kaiming"
        Initial weights, see `reset_parameters`.

    Shapes
    ------
    x : `[T, B, F]`, or on the N nodes of a graph `[T, B, N, F]`

    y : `[T, B, (N,) D·H]`, with D = 2 when bidirectional, else 1

    state : `h [layers·D, B, (N,) H]`; for cells of several states, as the LSTM, a tuple `(h, c)`

    Raises
    ------
    ValueError
        For sizes and shapes that do not fit; both shapes are named.

    Example
    -------
    >>> import torch
    >>> from plait import LSTM, Recurrent
    >>> lstm = Recurrent(LSTM(), input_size=8, hidden_size=64, layers=2)
    >>> y, (h, c) = lstm(torch.randn(30, 16, 8))            # T = 30, B = 16
    >>> y.shape, h.shape
    (torch.Size([30, 16, 64]), torch.Size([2, 16, 64]))
    >>> torch.equal(y[-1], h[-1])
    True
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        *,
        operator: Operator = Dense(),  # noqa: B008 - frozen, so one for all is safe
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        batch_first: bool = False,
        init: Init = "orthogonal",
    ) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            raise TypeError(f"cell must be a Cell such as LSTM(), not {cell!r}")
        for name, value, least in (
            ("input_size", input_size, 0),
            ("hidden_size", hidden_size, 1),
            ("layers", layers, 1),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        for name, share in (("dropout", dropout), ("recurrent_dropout", recurrent_dropout)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} must be at least 0 and less than 1, not {share}")
        if dropout and layers == 1:
            warnings.warn("dropout acts between layers, and there is one layer", stacklevel=2)
        self.cell = cell
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.operator = checked_operator(operator)
        self.layers = layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.batch_first = batch_first
        self.init: Init = init
        width = hidden_size * self.num_directions
        self.strands = nn.ModuleList(  # in the order of the states: l0, l0 reversed, l1, …
            Strand(cell, operator, width if layer else input_size, hidden_size)
            for layer in range(layers)
            for _ in range(self.num_directions)
        )
        self.reset_parameters()

    @property
    def num_directions(self) -> int:
        """2 when bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    def reset_parameters(self, init: Init | None = None) -> None:
        """Draw the weights anew from torch's generator.

        - "orthogonal": recurrent matrices orthogonal, gate by gate (Saxe et al. 2014), so that
          states neither fade nor grow at the start; input matrices uniform with variance
          2² / fan-in, so that inputs of unit variance reach the gates with standard deviation 2,
          and 4² / fan-in in the layers above the first, whose inputs are states, which are
          smaller (chosen by measurement, `benchmarks/text.py`); biases 0 but for those that the
          cell says (the LSTM's forget gate: 1); peepholes 0.
        - "torch": everything uniform within ±1/√H, as `torch.nn.LSTM` does.
        - "kaiming": matrices normal with variance 2 / fan-in (He et al. 2015); biases as in
          "orthogonal".

        Parameters
        ----------
        init : "orthogonal", "torch" or "kaiming"
            None: what the layer was made with.
        """
        init = self.init if init is None else init
        if init not in ("orthogonal", "torch", "kaiming"):
            raise ValueError(f"init must be 'orthogonal', 'torch' or 'kaiming', not {init!r}")
        for index, strand in enumerate(self.strands):
            gain = INPUT_GAIN if index < self.num_directions else STATE_GAIN
            strand.reset_parameters(init, gain)  # pyright: ignore[reportCallIssue]

    def forward(
        self,
        x: Tensor,
        state: Tensor | State | None = None,
        *,
        graph: Any = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | State]:
        """Run over a batch of sequences.

        Parameters
        ----------
        x : Tensor `[T, B, (N,) F]` (`[B, T, (N,) F]` with `batch_first`)
        state : Tensor or tuple of Tensor `[layers·D, B, (N,) H]`
            Where each layer starts; None: zeros.
        graph : Graph, or a list of T of them, one a step
            For operators that hear neighbours. The graphs of a list have the same nodes; the step
            from h_{t−1} to h_t hears x_t and h_{t−1} over the t-th.
        lengths : integer Tensor `[B]`
            Steps of each sequence, 0 to T. Past its end a sequence's state stays as it is, its
            outputs are zero, and what the padding holds does not matter. The reversed direction
            starts at each sequence's own end.

        Returns
        -------
        y : Tensor `[T, B, (N,) D·H]`
            The last layer's outputs.
        state : as the argument
            After each sequence's last step.
        """
        y, final, _ = self._run(x, state, graph, lengths, unroll=False)
        return y, final

    def unroll(
        self,
        x: Tensor,
        state: Tensor | State | None = None,
        *,
        graph: Any = None,
        lengths: Tensor | None = None,
    ) -> Tensor | State:
        """Return the states after every step, `[T, layers·D, B, (N,) H]` (T first in any case).

        Arguments are those of `forward`. Reversed directions stand at the time they read: entry
        t is the state after reading x_{T−1} … x_t. Past a sequence's end stands the state that it
        ended with.

        Example
        -------
        >>> import torch
        >>> from plait import LSTM, Recurrent
        >>> h, c = Recurrent(LSTM(), 3, 5, layers=2).unroll(torch.randn(7, 4, 3))
        >>> c.shape
        torch.Size([7, 2, 4, 5])
        """
        return self._run(x, state, graph, lengths, unroll=True)[2]

    def explain(self, graph: Graph | None = None) -> str:
        """Say in plain words which kernel each layer uses here, and why.

        For operators that hear neighbours it says how each side is computed; with a graph, how on
        that graph.

        Example
        -------
        >>> from plait import GRU, Recurrent
        >>> print(Recurrent(GRU("before"), 3, 5).explain())
        layer 0: plait-cpu - compiled loops for GRU(reset='before') × Dense() in float32
        >>> from plait import GCN, RNN
        >>> print(Recurrent(RNN(), 9, 5, operator=GCN()).explain())
        layer 0: plait-cpu - compiled loops for RNN(nonlinearity='tanh') × GCN() in float32
          input side: product first, for 5 outputs are fewer than 9 inputs
          recurrent side: shift first, for 5 inputs are no more than 5 outputs
        """
        said: Any = getattr(self.operator, "explain", None)
        both = f"{self.cell!r} × {self.operator!r}"
        lines = []
        for layer in range(self.layers):
            plain = self._choose(layer, lengths=False, unroll=False)
            padded = self._choose(layer, lengths=True, unroll=False)
            line = f"layer {layer}: {plain.said_of(both)}"
            if padded != plain:
                line += f"; with lengths: {padded.said_of(both)}"
            lines.append(line)
            if said is not None:
                strand: Strand = self.strands[layer * self.num_directions]  # pyright: ignore[reportAssignmentType]
                width = self.hidden_size * self.num_directions if layer else self.input_size
                for side, inputs, gates in (
                    ("input", width, strand.gates),
                    ("recurrent", self.hidden_size, strand.recurrent_gates),
                ):
                    if gates:
                        text = said(inputs, len(gates) * self.hidden_size, graph)
                        lines.append(f"  {side} side: {text}")
        return "\n".join(lines)

    @classmethod
    def from_torch(cls, module: nn.RNNBase) -> "Recurrent":
        """Make the layer that computes what this `nn.RNN`, `nn.LSTM` or `nn.GRU` does.

        The weights are copied. torch's two biases a gate become one, their sum; a module made
        with `bias=False` gets biases of zero.

        Raises
        ------
        TypeError
            For any other module.
        ValueError
            For `proj_size`, which Plait does not have.

        Example
        -------
        >>> import torch
        >>> from plait import Recurrent
        >>> theirs, x = torch.nn.GRU(3, 5), torch.randn(7, 2, 3)
        >>> ours = Recurrent.from_torch(theirs)
        >>> torch.allclose(ours(x)[0], theirs(x)[0], atol=1e-6)
        True
        """
        return layer_of(cls, module)

    def to_torch(self) -> nn.RNN | nn.LSTM | nn.GRU:
        """Make the `nn.RNN`, `nn.LSTM` or `nn.GRU` that computes what this layer does.

        Raises
        ------
        ValueError
            When torch has none: an operator other than `Dense`, peepholes, reset before, an own
            cell, recurrent dropout, inputs of size 0.

        Example
        -------
        >>> from plait import LSTM, Recurrent
        >>> Recurrent(LSTM(), 3, 5, layers=2).to_torch()
        LSTM(3, 5, num_layers=2)
        """
        return module_of(self)

    def extra_repr(self) -> str:
        """Return what the layer was made with."""
        text = f"{self.cell!r}, {self.input_size}, {self.hidden_size}, operator={self.operator!r}"
        for name in ("layers", "bidirectional", "dropout", "recurrent_dropout", "batch_first"):
            value = getattr(self, name)
            if value != {"layers": 1}.get(name, 0):
                text += f", {name}={value}"
        return text

    def _run(
        self,
        x: Tensor,
        state: Tensor | State | None,
        graph: Any,
        lengths: Tensor | None,
        *,
        unroll: bool,
    ) -> tuple[Tensor, Tensor | State, Tensor | State]:
        """Outputs, final states, and with `unroll` the states of every step (else empty)."""
        x = self._checked_input(x, graph)  # [T, B, (N,) F]
        starts = self._checked_state(state, x)
        if lengths is None and not unroll and (mode := self._native_stack()):
            return *self._run_native(mode, x, starts), ()
        keep = None
        if lengths is not None:
            lengths = _checked_lengths(lengths, x)
            keep = _keep_mask(lengths, x)  # [T, B, 1, (1)]
            x = x.masked_fill(~keep, 0)
        finals: list[State] = []
        unrolled: list[State] = []
        if type(self.operator) is Dense:
            graph = None  # it hears no neighbours
        dropped = self.recurrent_dropout if self.training else 0.0
        changing = isinstance(graph, list | tuple)
        for layer in range(self.layers):
            chosen = self._choose(
                layer, lengths=lengths is not None, unroll=unroll, changing=changing
            )
            outputs = []
            for direction in range(self.num_directions):
                index = layer * self.num_directions + direction
                strand: Strand = self.strands[index]  # pyright: ignore[reportAssignmentType]
                start = tuple(s[index] for s in starts)
                read = _read_back if direction else Strand.run
                h, final, states = read(strand, chosen, x, start, graph, lengths, keep, dropped)
                outputs.append(h)
                finals.append(final)
                if unroll:
                    unrolled.append(states)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
            if layer < self.layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        y = x.transpose(0, 1) if self.batch_first else x
        final = tuple(torch.stack(s) for s in zip(*finals, strict=True))
        every = tuple(torch.stack(s, 1) for s in zip(*unrolled, strict=True))
        return y, self._external(final), self._external(every)

    def _native_stack(self) -> str | None:
        """Name the recurrence of torch that runs all layers in one call, where one does."""
        chosen = self._choose(self.layers - 1, lengths=False, unroll=False)
        return chosen.native if self.input_size else None

    def _run_native(self, mode: str, x: Tensor, starts: State) -> tuple[Tensor, Tensor | State]:
        weights = [w for s in self.strands for w in s.torch_weights()]  # pyright: ignore[reportCallIssue]
        y, final = native.run(
            mode, x, starts, weights, None, None,
            layers=self.layers, bidirectional=self.bidirectional,
            dropout=self.dropout if self.training else 0.0,
        )  # fmt: skip
        return y.transpose(0, 1) if self.batch_first else y, self._external(final)

    def _external(self, state: State) -> Tensor | State:
        return state[0] if len(self.cell.states) == 1 and state else state

    def _choose(self, layer: int, *, lengths: bool, unroll: bool, changing: bool = False) -> Choice:
        """Decide which kernel runs a layer."""
        if unroll:
            return Choice("reference", "the states of every step are asked for")
        if changing:
            return Choice("reference", "the graph changes from step to step")
        name = equations(self.cell)
        if name is None or type(self.operator) not in (Dense, GCN, Chebyshev, Diffusion):
            return Choice("reference", "no kernel for {}")
        weight, mode = next(self.parameters()), torch_mode(self.cell)
        ours = fused.choice(name, weight)
        if mode is None or type(self.operator) is not Dense or layer == self.input_size == 0:
            return ours
        if self.recurrent_dropout and self.training:
            return ours  # torch's have none
        torchs = native.choice(mode, weight, lengths=lengths)
        return torchs if ours.fused is None or torchs.kernel == "oneDNN" else ours

    def _checked_input(self, x: Tensor, graph: Any) -> Tensor:
        if isinstance(x, PackedSequence):
            raise TypeError("packed sequences are not taken; pass the padded batch and lengths=")
        order = "[B, T, {}F]" if self.batch_first else "[T, B, {}F]"
        if x.ndim not in (3, 4):
            expected = f"{order.format('')} or, on a graph, {order.format('N, ')}"
            raise ValueError(f"x must be {expected}, batched; got shape {list(x.shape)}")
        if x.shape[-1] != self.input_size:
            shape = order.format("N, " if x.ndim == 4 else "").replace("F", str(self.input_size))
            raise ValueError(f"x must be {shape}; got shape {list(x.shape)}")
        if x.shape[1 if self.batch_first else 0] == 0:
            raise ValueError(f"x has no time steps: shape {list(x.shape)}")
        weight = next(self.parameters())
        if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
            raise ValueError(f"x is {x.dtype}, the layer {weight.dtype}; convert one with .to()")
        graphs = self._graphs(x, graph)
        check: Any = getattr(self.operator, "check", None)
        if check is not None:
            if x.ndim != 4:
                raise ValueError(
                    f"{self.operator!r} hears neighbours, so x must be {order.format('N, ')}; "
                    f"got shape {list(x.shape)}"
                )
            for over in graphs:
                check(x, over)
        return x.transpose(0, 1) if self.batch_first else x

    def _graphs(self, x: Tensor, graph: Any) -> Sequence[Any]:
        """List the graphs, one for all steps or one a step."""
        T = x.shape[1 if self.batch_first else 0]
        if not isinstance(graph, list | tuple):
            return [graph]
        if len(graph) != T:
            raise ValueError(f"graph= has {len(graph)} graphs for T = {T} steps; give one a step")
        return graph

    def _checked_state(self, state: Tensor | State | None, x: Tensor) -> State:
        names = tuple(self.cell.states)
        shape = (len(self.strands), *x.shape[1:-1], self.hidden_size)  # [L·D, B, (N,) H]
        if state is None:
            return tuple(x.new_zeros(shape) for _ in names)
        states = (state,) if isinstance(state, Tensor) else tuple(state)
        if len(states) != len(names):
            raise ValueError(f"state must hold ({', '.join(names)}); got {len(states)} tensors")
        for name, s in zip(names, states, strict=True):
            if s.shape != shape:
                raise ValueError(
                    f"state {name} must be {list(shape)} [layers·directions, B, (N,) H]; "
                    f"got shape {list(s.shape)}"
                )
        return states


def _checked_lengths(lengths: Tensor, x: Tensor) -> Tensor:
    T, B = x.shape[:2]
    lengths = torch.as_tensor(lengths, device=x.device)
    if lengths.shape != (B,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise ValueError(
            f"lengths must be {B} integers, one a sequence; got {lengths.dtype} of shape "
            f"{list(lengths.shape)}"
        )
    if B and (int(lengths.min()) < 0 or int(lengths.max()) > T):
        raise ValueError(f"lengths must lie within 0 … T = {T}; got {lengths.tolist()}")
    return lengths.long()


def _keep_mask(lengths: Tensor, x: Tensor) -> Tensor:
    """Say which steps lie within their sequence: `[T, B, (1,) 1]`."""
    steps = torch.arange(x.shape[0], device=x.device)
    keep = steps[:, None] < lengths  # [T, B]
    return keep.view(*keep.shape, *[1] * (x.ndim - 2))


def _read_back(
    strand: Strand,
    chosen: Choice,
    x: Tensor,
    start: State,
    graph: Any,
    lengths: Tensor | None,
    keep: Tensor | None,
    dropped: float,
) -> tuple[Tensor, State, State]:
    """Run a strand from each sequence's end; what it answers stands at the time it read."""
    if not isinstance(graph, list | tuple):
        back = _reverse(x, lengths)
        h, final, states = strand.run(chosen, back, start, graph, lengths, keep, dropped)
        return _reverse(h, lengths), final, tuple(_reverse(s, lengths) for s in states)
    # graphs belong to times, so time itself is reversed, and each sequence waits for its end
    keep_back = None if keep is None else keep.flip(0)
    h, final, states = strand.run(
        chosen, x.flip(0), start, graph[::-1], lengths, keep_back, dropped
    )
    states = tuple(s.flip(0) for s in states)
    if keep is not None:
        states = tuple(torch.where(keep, s, f) for s, f in zip(states, final, strict=True))
    return h.flip(0), final, states


def _reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse in time, each sequence within its own length; the padding stays."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.shape[0], device=x.device)[:, None]  # [T, 1]
    index = torch.where(steps < lengths, lengths - 1 - steps, steps)  # [T, B]
    return x[index, torch.arange(x.shape[1], device=x.device)]
