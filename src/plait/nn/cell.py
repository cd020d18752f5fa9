"""`Cell`: the equations of a recurrent step, without weights."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol

from torch import Tensor

from plait.kernels.equations import equations
from plait.kernels.program import Program
from plait.kernels.trace import UntraceableError, gate_names, trace

State = tuple[Tensor, ...]


class RecurrentSide(Protocol):
    """Apply the operator to `tensor` with the recurrent weights of `gates` (default: all)."""

    def __call__(self, tensor: Tensor, gates: Sequence[str] | None = None) -> Tensor:
        """Return the recurrent side of these gates, stacked: `[B, (N,) len(gates)·H]`."""
        ...


class Cell:
    """One step of a recurrent network: equations alone. Subclass it to make your own.

    Declare, as class attributes:

    - `gates`: names of the gates, in the order in which they are stacked; a string is a sequence
      of one-letter names;
    - `bias_gates`: the gates whose input side has a bias (None: all);
    - `recurrent_gates`: the gates that have recurrent weights (None: all; `()`: none, a cell whose
      gates read the input alone);
    - `recurrent_bias_gates`: the gates whose *recurrent* side has a bias of its own (none);
    - `states`: names of the states; the first is the output;
    - `vectors`: the cell's own weights: names of vectors `[H]`, one number per channel
      (peepholes), or a mapping from a name to its length as a multiple of H (the gain of a layer
      norm over four gates: `{"gain": 4}`);
    - `initial_bias`, `initial_vectors`: the initial value of a gate's bias or of a vector
      (default: by the layer's `init`);
    - `open_gates`: gates whose bias is 1 at first unless `initial_bias` names them or `init` is
      "torch", such as the LSTM's forget gate (none).

    and define `step` with differentiable torch operations. Every state is `[B, (N,) H]`.

    **What a cell may own.** Only vectors whose length is a multiple of H: every matrix belongs to
    the operator, on the input side or in `recurrent(value, gates)`, so that any cell runs with any
    operator. `step` gets the input side, not x itself. A cell that computes with x before the
    product (the Mogrifier LSTM of Melis et al. 2020, in which x and h gate each other in turn)
    cannot be written this way.

    **How it runs.** `step` is traced once with symbols; kernels, gradients and formulas are
    derived from the traced equations, so your own cell is as fast as a built-in one. This works
    for elementwise operations (+ − × ÷, σ, tanh, relu, exp, log, sqrt, where, comparisons, minimum,
    maximum, clamp, softplus …), numbers, `chunk`, `split`, `cat` and slices by gates, statistics of
    a row (`mean`, `var`, `sum` with `dim=-1, keepdim=True`, `layer_norm`), and `recurrent` any
    number of times. A cell with any other operation runs in plain torch, and `explain()` names the
    operation and the line.

    Shapes
    ------
    x_gates : `[B, (N,) G·H]`, with G the number of gates

    states : `[B, (N,) H]` each

    Raises
    ------
    NotImplementedError
        When a cell without `step` runs.
    ValueError
        From `Recurrent`, if names of gates or states are missing, repeated or unknown.

    Example
    -------
    A complete cell:

    >>> import torch
    >>> from plait import Cell, Recurrent
    >>> class MinimalGatedUnit(Cell):
    ...     gates = "fn"
    ...     def step(self, x_gates, recurrent, state, vectors):
    ...         (h,) = state
    ...         x_f, x_n = x_gates.chunk(2, -1)
    ...         f = torch.sigmoid(x_f + recurrent(h, "f"))
    ...         n = torch.tanh(x_n + recurrent(f * h, "n"))
    ...         return ((1 - f) * h + f * n,)
    >>> layer = Recurrent(MinimalGatedUnit(), input_size=3, hidden_size=5)
    >>> y, h = layer(torch.randn(7, 2, 3))          # T = 7, B = 2
    >>> y.shape, h.shape
    (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
    """

    gates: Sequence[str]
    bias_gates: Sequence[str] | None = None
    recurrent_gates: Sequence[str] | None = None
    recurrent_bias_gates: Sequence[str] = ()
    states: Sequence[str] = ("h",)
    vectors: Sequence[str] | Mapping[str, int] = ()
    initial_bias: Mapping[str, float] = {}
    initial_vectors: Mapping[str, float] = {}
    open_gates: Sequence[str] = ()

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Return the state after one step.

        It is called positionally, so the names of the arguments are free.

        Parameters
        ----------
        x_gates : Tensor `[B, (N,) G·H]`
            The input side of all G gates, stacked in the order of `gates`, biases included.
        recurrent : callable
            `recurrent(tensor, gates)` is the recurrent side of those gates,
            `[B, (N,) len(gates)·H]`.
        state : tuple of Tensor `[B, (N,) H]`
            In the order of `states`.
        vectors : mapping of Tensor `[k·H]`
            By their names in `vectors`.

        Returns
        -------
        tuple of Tensor `[B, (N,) H]`
            The new state, in the order of `states`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @property
    def vector_sizes(self) -> dict[str, int]:
        """The length of each of the cell's own vectors, as a multiple of H."""
        if isinstance(self.vectors, Mapping):
            return dict(self.vectors)
        return dict.fromkeys(self.vectors, 1)

    def equations(self, form: Literal["text", "latex"] = "text", *, gradient: bool = True) -> str:
        """Return the cell's equations and the gradient derived from them.

        The state before the step is h, after it h'. δv is the gradient of the loss with respect to
        v, and δa_… that of a gate's pre-activation. In sums over time, δ is that of each step.

        Parameters
        ----------
        form : "text" or "latex"
        gradient : bool
            Append the gradient.

        Raises
        ------
        ValueError
            If the step cannot be traced; the message names the operation and the line.

        Example
        -------
        >>> from plait import RNN
        >>> print(RNN().equations())
        h' = tanh(W_h x + b_h + U_h h)
        <BLANKLINE>
        δa_h = δh' ⊙ (1 − h' ⊙ h')
        δh = U_hᵀ δa_h
        ∂L/∂W_h = Σ_t δa_h xᵀ
        ∂L/∂U_h = Σ_t δa_h hᵀ
        ∂L/∂b_h = Σ_t δa_h
        """
        program = program_of(self, 2)
        if isinstance(program, str):
            raise ValueError(f"{type(self).__name__} has no equations to print: {program}")
        forward, backward = equations(program, form)
        parts = [forward, backward] if gradient else [forward]
        if form == "text":
            return "\n\n".join("\n".join(lines) for lines in parts)
        aligned = [
            " \\\\\n".join(line.replace(" = ", " &= ", 1) for line in lines) for lines in parts
        ]
        return "\n\n".join(f"\\begin{{aligned}}\n{a}\n\\end{{aligned}}" for a in aligned)


def program_of(cell: Cell, hidden_size: int, *, dropped: bool = False) -> Program | str:
    """Return the program of a cell, or the reason why it has none, with the line of its code.

    With `dropped` it includes recurrent dropout.
    """
    try:
        key = _key(cell)
        return _traced(type(cell), key, hidden_size, dropped, _Unhashed(cell))
    except (TypeError, AttributeError):  # it may read what changes: traced at every call
        return _trace(cell, hidden_size, dropped)


class _Unhashed:
    """A cell that does not count for the cache's key; what its code reads is the key."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unhashed)


@lru_cache(512)
def _traced(
    kind: type, key: tuple[Any, ...], hidden_size: int, dropped: bool, of: _Unhashed
) -> Program | str:
    return _trace(of.cell, hidden_size, dropped)


def _trace(cell: Cell, hidden_size: int, dropped: bool) -> Program | str:
    gates = tuple(cell.gates)
    recurrent_gates = _given(cell.recurrent_gates, gates)
    before = dict(vars(cell))
    try:
        first, second = (
            trace(
                cell.step, hidden_size, gates=gates, bias_gates=_given(cell.bias_gates, gates),
                recurrent_gates=recurrent_gates,
                recurrent_bias_gates=gate_names(cell.recurrent_bias_gates, recurrent_gates),
                states=tuple(cell.states), vectors=cell.vector_sizes, dropped=dropped,
            )
            for _ in range(2)
        )  # fmt: skip
    except UntraceableError as error:
        return str(error)
    if first.key != second.key or before != vars(cell):
        return f"{type(cell).__name__}.step is not the same at every call"
    return first


def _given(gates: Sequence[str] | None, of: tuple[str, ...]) -> tuple[str, ...]:
    return of if gates is None else gate_names(gates, of)


def _key(cell: Cell) -> tuple[Any, ...]:
    """Return a key of the equations: the code of `step`, and the numbers that it reads."""
    kind = type(cell)
    step: Any = kind.step
    own = tuple(vars(cell).items())
    if own and any(isinstance(value, Tensor) for _, value in own):
        raise TypeError("a tensor may change without notice")
    of_class, of_module = _numbers_of(kind, step)
    read = [getattr(kind, name, None) for name in of_class]
    read += [step.__globals__.get(name) for name in of_module]
    return step, own, tuple(read)


@lru_cache(512)
def _numbers_of(kind: type, step: Any) -> tuple[list[str], list[str]]:
    """List the numbers that the code of a step reads from its class and from its module.

    Raises TypeError if it reads something that may change without notice.
    """
    if step.__closure__:
        raise TypeError("it reads names of the function around it")
    names = step.__code__.co_names
    of_class = [n for n in names if isinstance(getattr(kind, n, None), int | float | str)]
    of_module = [n for n in names if isinstance(step.__globals__.get(n), int | float | str)]
    return of_class, of_module
