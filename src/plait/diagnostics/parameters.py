"""The parameters of a model, counted term by term."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from plait.nn.layer import Layer
from plait.nn.recurrent import Recurrent


class Term(NamedTuple):
    """One term of a parameter count: its name, its formula as text, and its value."""

    name: str
    formula: str
    count: int


@dataclass(frozen=True)
class ParameterCount:
    """The terms of a parameter count and their sum; as text, a table."""

    terms: tuple[Term, ...]

    @property
    def total(self) -> int:
        """The sum of all terms."""
        return sum(term.count for term in self.terms)

    def __str__(self) -> str:
        rows = [(name, formula, f"{count:,}") for name, formula, count in self.terms]
        rows.append(("total", "", f"{self.total:,}"))
        name, formula, count = (max(map(len, column)) for column in zip(*rows, strict=True))
        return "\n".join(f"{n:{name}}  {f:{formula}}  {c:>{count}}" for n, f, c in rows)


def count_parameters(module: nn.Module) -> ParameterCount:
    """Count the parameters of a model, each term with its formula.

    A recurrent layer of G gates, F inputs and H channels has, in each direction,

    G·H + G·F·H + G·H·H

    parameters: biases, input–hidden and hidden–hidden weights. G counts only the gates that have
    such a weight; V vectors (peepholes) add V·H, and recurrent biases G·H. An operator with several
    basis terms has that many times the weights. A linear layer has in·out + out, and everything
    else the product of its shape. Shared weights are counted once, where they come first.

    Parameters
    ----------
    module : nn.Module
        Any model; `Recurrent` layers are counted by gates and by input and recurrent weights.

    Returns
    -------
    ParameterCount
        `terms` in the order of the model, and their `total`.

    Example
    -------
    >>> from torch import nn
    >>> from plait import LSTM, Recurrent
    >>> from plait.diagnostics import count_parameters
    >>> model = nn.ModuleDict({
    ...     "embedding": nn.Embedding(84, 128),
    ...     "lstm": Recurrent(LSTM(), 128, 128),
    ...     "output": nn.Linear(128, 84),
    ... })
    >>> print(count_parameters(model))
    embedding.weight              84·128      10,752
    lstm layer 0, biases          4·128          512
    lstm layer 0, input–hidden    4·128·128   65,536
    lstm layer 0, hidden–hidden   4·128·128   65,536
    output.weight                 128·84      10,752
    output.bias                   84              84
    total                                    153,172
    """
    terms: list[Term] = []
    first: dict[nn.Parameter, str] = {}
    for name, formula, tensors in _groups(module, ""):
        # what torch's parametrizations compute is no parameter; its originals come at the end
        parameters = [p for p in tensors if isinstance(p, nn.Parameter)]
        if not parameters:
            continue
        fresh = [p for p in parameters if p not in first]
        count = sum(p.numel() for p in fresh)
        if len(fresh) < len(parameters):
            shared = next(first[p] for p in parameters if p in first)
            formula = f"{formula}, shared with {shared}"
        first |= dict.fromkeys(fresh, name)
        terms.append(Term(name, formula, count))
    for name, p in module.named_parameters():
        if p not in first:
            terms.append(Term(name, _product(p.shape), p.numel()))
    counted = ParameterCount(tuple(terms))
    assert counted.total == sum(p.numel() for p in module.parameters())
    return counted


_Group = tuple[str, str, Sequence[Tensor]]


def _groups(module: nn.Module, path: str) -> Iterator[_Group]:
    """Yield the parameters of a module and its children, those of one formula together."""
    children = dict(module.named_children())
    for name, p in module.named_parameters(recurse=False):
        shape = reversed(p.shape) if isinstance(module, nn.Linear) else p.shape  # in·out
        yield _join(path, name), _product(shape), [p]
    if isinstance(module, Recurrent):
        directions = children.pop("directions")
        for k, direction in enumerate(directions.children()):
            depth, reverse = divmod(k, module.num_directions)
            label = f"{path} layer {depth}".strip() + (" reversed" if reverse else "")
            assert isinstance(direction, Layer)
            yield from _layer_groups(direction, label)
    for name, child in children.items():
        yield from _groups(child, _join(path, name))


def _layer_groups(layer: Layer, label: str) -> Iterator[_Group]:
    """Yield the parameters of one layer in one direction."""
    H = layer.hidden_size
    if layer.bias is not None:
        yield f"{label}, biases", _product((len(layer.bias_gates), H)), [layer.bias]
    for side, gates, weights in (
        ("input–hidden", layer.gates, layer.inputs),
        ("hidden–hidden", layer.recurrent_gates, layer.recurrent),
    ):
        for name, weight in weights.items():
            shape = (len(gates), *weight.shape[1:], weight.shape[0] // len(gates))  # G·F·H
            yield f"{label}, {side}" + f" {name}" * (len(weights) > 1), _product(shape), [weight]
    if layer.recurrent_bias is not None:
        size = (len(layer.recurrent_bias_gates), H)
        yield f"{label}, recurrent biases", _product(size), [layer.recurrent_bias]
    if layer.vectors:
        names = tuple(layer.cell.vectors)
        size = (sum(layer.cell.vector_sizes.values()), H)
        yield f"{label}, {', '.join(names)}", _product(size), [layer.vectors[n] for n in names]


def _product(sizes: Iterable[int]) -> str:
    return "·".join(map(str, sizes)) or "1"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
