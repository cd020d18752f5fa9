"""`Recurrent`: any cell × any operator, over time."""

import warnings
from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from plait.errors import InputError
from plait.kernels import library
from plait.kernels.kernel import Call, Choice, Kernel, choose
from plait.kernels.preference import KERNELS
from plait.kernels.reference import Reference
from plait.kernels.transforms import compiling, exporting
from plait.nn.arguments import checked_input, checked_lengths, checked_state
from plait.nn.cell import Cell, State
from plait.nn.explanation import explain, kernel_of
from plait.nn.forms import aggregates, run_alone, run_packed
from plait.nn.graph import Graph, as_graph
from plait.nn.keras_weights import cell_of, copy_keras, read_keras
from plait.nn.layer import Init, Layer
from plait.nn.lengths import keep_mask, run_reversed
from plait.nn.operators import Dense, Operator, OperatorLayer, checked_operator, named
from plait.nn.torch_layers import copy_weights, module_for, options_of, quietly
from plait.renamed import RenamedAttribute

INPUT_GAIN, STATE_GAIN = 2.0, 4.0
"""Initial standard deviation of pre-activations, for inputs of unit variance and for states."""


class Recurrent(OperatorLayer):
    r"""A recurrent layer, or a stack of them: a cell × an operator, run over time.

    With the equations of `cell` (see `RNN`, `LSTM`, `GRU`) and `*` the operator (`Dense`: the
    matrix product of `torch.nn`), a layer computes

    state_t = step(W * x_t + b, U * h_{t−1}, state_{t−1}),  y_t = h_t

    The input side W * x + b is computed for the whole sequence before the loop over time.

    Parameters
    ----------
    cell : Cell
        The gates and states: `RNN()`, `LSTM()`, `GRU()`, or your own.
    input_size : int
        Features F of the input. 0 is allowed, for a decoder without input.
    hidden_size : int
        Channels H of every state.
    operator : Operator
        How a node aggregates its neighbours, on the input side and on the recurrent side.
    layers : int
        Layer k + 1 reads the outputs of layer k.
    bidirectional : bool
        A second set of weights reads the sequence in reverse; the outputs are concatenated.
    dropout : float
        Share of the outputs of every layer but the last set to zero in training.
    recurrent_dropout : float
        Share of the channels of the recurrent side's input set to zero in training, the same ones
        at every step of a sequence (variational dropout; Gal & Ghahramani 2016).
    batch_first : bool
        `x` and `y` have the batch before the time.
    init : "torch", "orthogonal" or "kaiming"
        Initial weights, see `reset_parameters`.

    Shapes
    ------
    x : `[T, B, F]`, or on the N nodes of a graph `[T, B, N, F]`

    y : `[T, B, (N,) D·H]`, with D = 2 when bidirectional, else 1

    state : `h [layers·D, B, (N,) H]`; for cells of several states, as the LSTM, a tuple `(h, c)`

    Raises
    ------
    ValueError
        For sizes and shapes that do not fit; the message names the shape given and required.
    TypeError
        If `cell` is not a cell or `operator` not an operator, and for a packed sequence in
        `unroll`.
    InputError
        For edges that the operator cannot use, such as negative weights.

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

    kernels: Sequence[Kernel] = KERNELS
    """In order of preference; `layer.kernels = [Reference()]` selects the reference."""

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
        init: Init = "torch",
    ) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            raise TypeError(f"cell must be a Cell such as LSTM(), not {named(cell)}")
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
        self.directions = nn.ModuleList(  # in the order of the states: l0, l0 reversed, l1, …
            Layer(cell, operator, width if layer else input_size, hidden_size)
            for layer in range(layers)
            for _ in range(self.num_directions)
        )
        self.reset_parameters()

    strands = RenamedAttribute("directions")

    @property
    def num_directions(self) -> int:
        """2 when bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    def reset_parameters(self, init: Init | None = None) -> None:
        """Initialise the weights with torch's random generator.

        - "torch", the default: everything uniform within ±1/√H, as `torch.nn.LSTM` does.
        - "orthogonal": recurrent matrices orthogonal, gate by gate (Saxe et al. 2014), so that
          states neither fade nor grow at the start; input matrices uniform with variance
          2² / fan-in, so that inputs of unit variance reach the gates with standard deviation 2,
          and 4² / fan-in in the layers above the first, whose inputs are states, which are
          smaller (chosen by measurement, `benchmarks/text.py`); biases 0, the LSTM's forget
          gate's 1; peepholes 0.
        - "kaiming": matrices normal with variance 2 / fan-in (He et al. 2015); biases as in
          "orthogonal".

        Values that a cell declares (`initial_bias`, `initial_vectors`) hold in all three. The
        page "Cells and operators" compares them on several problems.

        Parameters
        ----------
        init : "torch", "orthogonal" or "kaiming"
            None: the constructor's.
        """
        init = self.init if init is None else init
        if init not in get_args(Init):
            raise ValueError(f"init must be one of {', '.join(get_args(Init))}, not {init!r}")
        for index, layer in enumerate(self.directions):
            gain = INPUT_GAIN if index < self.num_directions else STATE_GAIN
            layer.reset_parameters(init, gain)  # pyright: ignore[reportCallIssue]

    def forward(
        self,
        x: Any,
        state: Tensor | State | None = None,
        *,
        graph: Any = None,
        lengths: Tensor | None = None,
    ) -> tuple[Any, Tensor | State]:
        """Run over a batch of sequences.

        As `torch.nn.LSTM` does, with `Dense` it also takes one sequence `[T, F]` without a batch,
        from states `[layers·D, H]`, and a `PackedSequence`, and returns the same.

        Parameters
        ----------
        x : Tensor `[T, B, (N,) F]` (`[B, T, (N,) F]` with `batch_first`)
        state : Tensor or tuple of Tensor `[layers·D, B, (N,) H]`
            Where each layer starts; None: zeros.
        graph : Graph, or a list of T of them, one per step
            For operators that aggregate neighbours; also a `Data` or `Batch` of PyTorch Geometric,
            whose weights are `edge_weight` or an `edge_attr` of one column. The graphs of a list
            have the same nodes; the step from h_{t−1} to h_t uses the t-th for x_t and h_{t−1}.
        lengths : integer Tensor `[B]`
            Steps of each sequence, 0 to T. After its end a sequence's state does not change, its
            outputs are zero, and the padding is ignored. The reversed direction starts at each
            sequence's own end.

        Returns
        -------
        y : Tensor `[T, B, (N,) D·H]`
            The last layer's outputs.
        state : as the argument
            After each sequence's last step.
        """
        if isinstance(x, PackedSequence):
            return run_packed(self, x, state, lengths)  # pyright: ignore[reportCallIssue]
        if isinstance(x, Tensor) and x.ndim == 2 and not aggregates(self.operator):
            return run_alone(self, x, state, lengths)
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

        Arguments are those of `forward`. Reversed directions are in forward time order: entry t is
        the state after reading x_{T−1} … x_t. After a sequence's end its last state is repeated.

        Example
        -------
        >>> import torch
        >>> from plait import LSTM, Recurrent
        >>> h, c = Recurrent(LSTM(), 3, 5, layers=2).unroll(torch.randn(7, 4, 3))
        >>> c.shape
        torch.Size([7, 2, 4, 5])
        """
        return self._run(x, state, graph, lengths, unroll=True)[2]

    def explain(self, graph: Graph | None = None, *, source: bool = False) -> str:
        """Return in words which kernel each layer uses here, and why no kernel that is preferred.

        It names the kernel under `torch.compile` too, where that is another one. For operators that
        aggregate neighbours it describes how each side is computed; with a graph, how on that
        graph. With `source` the code generated from the cell's equations follows.

        Example
        -------
        >>> from plait import GRU, Recurrent
        >>> print(Recurrent(GRU("before"), 3, 5).explain())
        layer 0: plait-cpu - compiled loops for GRU(reset='before') × Dense() in float32
          not oneDNN: torch has no GRU(reset='before') × Dense()
          not cuDNN: x lies on cpu
        """
        return explain(self, as_graph(graph), source=source)

    def kernel(self) -> str:
        """Return the kernel of the first layer in a line, as `explain` has it.

        >>> from plait import LSTM, Recurrent
        >>> Recurrent(LSTM(), 3, 5).kernel()
        "oneDNN - torch's LSTM on cpu in float32"
        """
        return kernel_of(self, 0)

    @classmethod
    def from_torch(cls, module: nn.RNNBase) -> "Recurrent":
        """Make the layer that computes what this `nn.RNN`, `nn.LSTM` or `nn.GRU` does.

        The weights are copied. torch's two biases per gate become their sum; a module with
        `bias=False` gets biases of zero.

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
        layer = quietly(cls, **options_of(module))
        copy_weights(module, layer)
        return layer

    @classmethod
    def from_keras(
        cls, weights: Sequence[Any], *, nonlinearity: str = "tanh", reset_after: bool = True
    ) -> "Recurrent":
        """Make the layer that computes what a Keras `LSTM`, `GRU` or `SimpleRNN` does.

        The kind of layer follows from the shapes of the arrays; a `Bidirectional` has twice as
        many. The layer has `batch_first`, as in Keras, returns whole sequences, and the type of the
        arrays. Keras' activations other than its defaults, and dropout, are not in the weights.

        Parameters
        ----------
        weights : sequence of arrays, or of sequences of arrays
            `layer.get_weights()`: kernel `[F, gates·H]`, recurrent_kernel `[H, gates·H]` and bias,
            `[gates·H]`, of a GRU with reset_after `[2, gates·H]`. A list of several such lists is a
            stack of layers.
        nonlinearity : "tanh" or "relu"
            Of a SimpleRNN.
        reset_after : bool
            Of a GRU without bias, where the arrays do not show it.

        Raises
        ------
        InputError
            For arrays that do not fit each other.

        Example
        -------
        >>> import numpy as np
        >>> from plait import Recurrent
        >>> kernel, recurrent_kernel, bias = np.ones((3, 15)), np.ones((5, 15)), np.ones((2, 15))
        >>> Recurrent.from_keras([kernel, recurrent_kernel, bias]).cell
        GRU(reset='after')
        """
        if nonlinearity not in ("tanh", "relu"):
            raise InputError(f"nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}")
        layers = read_keras(weights)
        first = layers[0][0]
        features, hidden = first.kernel.shape[0], first.recurrent_kernel.shape[0]
        layer = quietly(
            cls, cell=cell_of(first, nonlinearity, reset_after=reset_after), input_size=features,
            hidden_size=hidden, layers=len(layers), bidirectional=len(layers[0]) == 2,
            batch_first=True,
        )  # fmt: skip
        layer.to(first.kernel.dtype)
        given = [one for directions in layers for one in directions]
        for one, ours in zip(given, layer.directions, strict=True):
            copy_keras(one, ours)
        return layer

    def to_torch(self) -> nn.RNN | nn.LSTM | nn.GRU:
        """Make the `nn.RNN`, `nn.LSTM` or `nn.GRU` that computes what this layer does.

        Raises
        ------
        ValueError
            If torch has none: for an operator other than `Dense`, peepholes, `GRU("before")`, your
            own cell, recurrent dropout, or inputs of size 0.

        Example
        -------
        >>> from plait import LSTM, Recurrent
        >>> Recurrent(LSTM(), 3, 5, layers=2).to_torch()
        LSTM(3, 5, num_layers=2)
        """
        return module_for(self)

    def extra_repr(self) -> str:
        """Return the arguments of the constructor."""
        text = f"{self.cell!r}, {self.input_size}, {self.hidden_size}, operator={self.operator!r}"
        for name in ("layers", "bidirectional", "dropout", "recurrent_dropout", "batch_first"):
            value = getattr(self, name)
            if value != {"layers": 1}.get(name, 0):
                text += f", {name}={value}"
        return text

    def choice(
        self, layer: int, x: Tensor, *, graph: Any = None, lengths: Tensor | None = None,
        unroll: bool = False,
    ) -> Choice:  # fmt: skip
        """Choose the kernel of a layer for an input like x."""
        dropout = self.recurrent_dropout if self.training else 0.0
        call = Call(x, (), graph, lengths, None, dropout, unroll)
        return choose(self.kernels, self.directions[layer * self.num_directions], call)

    def _run(
        self, x: Tensor, state: Tensor | State | None, graph: Any, lengths: Tensor | None,
        *, unroll: bool,
    ) -> tuple[Tensor, Tensor | State, Tensor | State]:  # fmt: skip
        """Return outputs, final states, and with `unroll` the states of every step (else empty)."""
        self.run_weight_hooks()
        graph = as_graph(graph)
        x = checked_input(
            x, self, self.operator, self.input_size, graph, batch_first=self.batch_first
        )  # [T, B, (N,) F]
        starts = checked_state(state, x, self.cell, len(self.directions), self.hidden_size)
        if type(self.operator) is Dense:
            graph = None  # it aggregates no neighbours
        keep = None
        if lengths is not None:
            lengths = checked_lengths(lengths, x)
            keep = keep_mask(lengths, x)  # [T, B, 1, (1)]
            x = x.masked_fill(~keep, 0)
        first = self._kernel(0, x, graph, lengths, unroll)
        stack: Any = getattr(first, "run_stack", None)
        if stack is not None and (lengths is None or getattr(first, "stacks_lengths", False)):
            y, final = stack(
                list(self.directions), x, starts, depth=self.layers,
                dropout=self.dropout if self.training else 0.0, lengths=lengths, keep=keep,
            )  # fmt: skip
            return self._in_order(y), self._external(final), ()
        finals: list[State] = []
        unrolled: list[State] = []
        for layer in range(self.layers):
            kernel = first
            if layer:
                kernel = self._kernel(layer, x, graph, lengths, unroll)
            outputs = []
            for direction in range(self.num_directions):
                index = layer * self.num_directions + direction
                one: Layer = self.directions[index]  # pyright: ignore[reportAssignmentType]
                dropped = self.recurrent_dropout if self.training else 0.0
                start = tuple(s[index] for s in starts)
                call = Call(x, start, graph, lengths, keep, dropped, unroll)
                run = run_reversed(kernel, one, call) if direction else kernel.run(one, call)
                outputs.append(run[0])
                finals.append(run[1])
                if unroll:
                    unrolled.append(run[2])
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
            if layer < self.layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        final = tuple(torch.stack(s) for s in zip(*finals, strict=True))
        every = tuple(torch.stack(s, 1) for s in zip(*unrolled, strict=True))
        return self._in_order(x), self._external(final), self._external(every)

    def _kernel(
        self, layer: int, x: Tensor, graph: Any, lengths: Tensor | None, unroll: bool
    ) -> Any:
        """Choose the kernel of a layer; under a compiler one that it takes as it is."""
        if exporting():  # made of torch's operations alone
            return Reference()
        if not compiling():
            return self.choice(layer, x, graph=graph, lengths=lengths, unroll=unroll).kernel
        one: Layer = self.directions[layer * self.num_directions]  # pyright: ignore[reportAssignmentType]
        dropped = False
        if self.training and self.recurrent_dropout > 0:  # a branch: the number may be symbolic
            dropped = True
        name = library.chosen(
            one.key, tuple(kernel.name for kernel in self.kernels), x.dtype, x.device.type,
            isinstance(graph, list | tuple), lengths is not None,
            dropped, unroll,
        )  # fmt: skip
        return library.Traced(name)

    def weight_modules(self) -> list[nn.Module]:
        """Return the modules that hold weights and are not called."""
        return [m for one in self.directions for m in one.weight_modules()]  # pyright: ignore[reportCallIssue]

    def _in_order(self, y: Tensor) -> Tensor:
        return y.transpose(0, 1) if self.batch_first else y

    def _external(self, state: State) -> Tensor | State:
        return state[0] if len(self.cell.states) == 1 and state else state

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Load weights; version 0.1.0 called directions strands."""
        for name in [n for n in state_dict if n.startswith(f"{prefix}strands.")]:
            ours = f"{prefix}directions.{name.removeprefix(f'{prefix}strands.')}"
            state_dict[ours] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)
