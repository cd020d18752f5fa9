"""The language model: embedding, recurrent layers, output."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.generation import TextGenerator
from plait.nn.cell import State
from plait.nn.convolution import GraphConv
from plait.nn.filters import Chebyshev
from plait.nn.generation import CompiledGenerator, RecordedGenerator
from plait.nn.graph import Graph
from plait.nn.recurrent import Recurrent
from plait.nn.registry import cell_named
from plait.tasks.text.config import TextConfig
from plait.tasks.text.data import vocabulary_from
from plait.tasks.text.vocabulary import Vocabulary


class TextModel(TextGenerator):
    """Predicts the next symbol, a character or a word, from all before it.

    e_t = E[x_t],  h_t = Recurrent(e_t, h_{t−1}),  P(x_{t+1} | x_1 … x_t) = softmax(V h_t + b)

    With a graph of words, Model 1 of GCRN (Seo et al. 2016): x_t is a signal on the graph, 1 at the
    word and 0 elsewhere, and goes through a Chebyshev filter before E. Since L~ is symmetric, that
    is the same as to look x_t up in a filtered table,

    e_t = Eᵀ Σ_{j<k} θ_j T_j(L~) x_t = (Σ_{j<k} θ_j T_j(L~) E)[x_t],

    with θ = 1, 0, 0, … at first: the table as it is.

    Shapes: numbers of symbols `[T, B]` to logits `[T, B, len(vocabulary)]`.

    Example
    -------
    >>> import torch
    >>> from plait.tasks.text.config import TextConfig
    >>> from plait.tasks.text.model import TextModel
    >>> from plait.tasks.text.vocabulary import Characters
    >>> model = TextModel(Characters.of("hello"), TextConfig())
    >>> logits, state = model(torch.zeros(7, 2, dtype=torch.long))
    >>> logits.shape
    torch.Size([7, 2, 4])
    """

    vocabulary: Vocabulary

    edge_index: Tensor
    edge_weight: Tensor

    def __init__(self, vocabulary: Vocabulary, config: TextConfig, edges: int = 0) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.dropout = config.dropout
        self.embedding = nn.Embedding(len(vocabulary), config.embedding_size)
        self.recurrent = Recurrent(
            cell_named(config.cell),
            config.embedding_size,
            config.hidden_size,
            layers=config.layers,
            dropout=config.dropout if config.layers > 1 else 0.0,
            recurrent_dropout=config.recurrent_dropout,
            init=config.init,
        )
        self.output = nn.Linear(config.hidden_size, len(vocabulary))
        if config.init == "orthogonal":
            nn.init.xavier_uniform_(self.output.weight)
            nn.init.zeros_(self.output.bias)
        if config.tied:
            self.embedding.weight = self.output.weight
        self.filter = None
        if config.word_graph:
            self.filter = GraphConv(Chebyshev(config.k), 1, 1, bias=False)
            with torch.no_grad():
                self.filter.weights["weight"].zero_().view(-1)[0] = 1
            self.register_buffer("edge_index", torch.zeros(2, edges, dtype=torch.long))
            self.register_buffer("edge_weight", torch.ones(edges))
        self._graph: Graph | None = None
        self.register_load_state_dict_post_hook(TextModel._forget_graph)

    @classmethod
    def from_facts(cls, config: TextConfig, facts: Mapping[str, Any]) -> Self:
        """Rebuild the model that a run folder describes, without its weights."""
        return cls(vocabulary_from(config, facts), config, facts.get("edges", 0))

    def place(self, graph: Graph) -> None:
        """Set the model's graph of words."""
        self.edge_index, self.edge_weight = graph.edge_index, graph.edge_weight.float()
        self._graph = None

    @property
    def graph(self) -> Graph:
        """The graph of words, on the device of the weights."""
        if self._graph is None or self._graph.device != self.edge_index.device:
            self._graph = Graph(self.edge_index, self.edge_weight, len(self.vocabulary))
        return self._graph

    def table(self) -> Tensor:
        """Return the representation of each symbol, `[V, E]`, filtered where there is a graph."""
        if self.filter is None:
            return self.embedding.weight
        signals = self.embedding.weight.T[..., None]  # [E, V, 1]: each number a signal on the graph
        return self.filter(signals, self.graph)[..., 0].T

    def forward(
        self, numbers: Tensor, state: Tensor | State | None = None
    ) -> tuple[Tensor, Tensor | State]:
        """Return the logits of the next symbol after each, and the state after the last."""
        h, final = self.hidden(numbers, state)
        return self.output(h), final  # [T, B, V]

    def hidden(
        self, numbers: Tensor, state: Tensor | State | None = None
    ) -> tuple[Tensor, Tensor | State]:
        """Return what the logits are computed from, `[T, B, H]`, and the state after the last."""
        x = F.dropout(F.embedding(numbers, self.table()), self.dropout, self.training)  # [T, B, E]
        h, final = self.recurrent(x, state)
        return F.dropout(h, self.dropout, self.training), final

    def compiled(
        self, state: Tensor | State | None, count: int
    ) -> CompiledGenerator | RecordedGenerator | None:
        """Return the loop that writes on, if there is one for the cell and device."""
        on_gpu = RecordedGenerator.can_run(self.recurrent)
        if not on_gpu and not CompiledGenerator.can_run(self.recurrent):
            return None
        if state is None:
            shape = (self.recurrent.layers, count, self.recurrent.hidden_size)
            like = self.output.weight
            state = tuple(like.new_zeros(shape) for _ in self.recurrent.cell.states)
        states = (state,) if isinstance(state, Tensor) else state
        if on_gpu:
            return RecordedGenerator(self.table(), self.recurrent, self.output, states)
        return CompiledGenerator(self.table(), self.recurrent, self.output, states, self.weights)

    def first_logits(self, count: int) -> Tensor:
        """Return the logits of a text's first symbol: those of the zero state, `[count, V]`."""
        h = torch.zeros(count, self.recurrent.hidden_size, device=self.output.weight.device)
        return self.output(h.to(self.output.weight.dtype))

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled: all but the graph, which is made from its edges."""
        return {**self.__dict__, "_graph": None}

    @staticmethod
    def _forget_graph(model: Any, _: Any) -> None:
        model._graph = None
