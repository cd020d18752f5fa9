"""The model of the visits task, and the probability from which a drug counts as predicted."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from plait.nn.graph import Graph
from plait.nn.registry import cell_named
from plait.tasks.visits.batches import Batch, Relations, Views
from plait.tasks.visits.config import VisitsConfig
from plait.tasks.visits.histories import Histories
from plait.zoo import rgnn


class VisitsModel(nn.Module):
    """`plait.zoo.rgnn` over the codes of a run, with the threshold that did best on validation.

    Attributes
    ----------
    codes : tuple of (kind, code)
        Drugs first.
    threshold : Tensor
        A drug with at least this probability is predicted.

    Example
    -------
    >>> from plait.tasks.visits.config import VisitsConfig
    >>> from plait.tasks.visits.model import VisitsModel
    >>> facts = {"codes": [["drug", "a"], ["diagnosis", "b"]], "related": [], "interactions": []}
    >>> VisitsModel.from_facts(VisitsConfig(hidden_size=8), facts).network.output
    Linear(in_features=16, out_features=1, bias=True)
    """

    threshold: Tensor

    def __init__(self, config: VisitsConfig, facts: Mapping[str, Any]) -> None:
        super().__init__()
        self.codes = tuple((kind, code) for kind, code in facts["codes"])
        self.relations = Relations.of(facts)
        self.window = 0 if config.view == "sequence" else config.window
        self.drugs = sum(kind == "drug" for kind, _ in self.codes)
        self.network = rgnn(
            len(self.codes),
            self.drugs,
            config.hidden_size,
            cell=cell_named(config.cell),
            operator=config.graph_options.make(),
            relations=self.relations.count,
            layers=config.graph_layers,
            periods=config.window,
            view=config.view,
            dropout=config.dropout,
        )
        self.register_buffer("threshold", torch.tensor(0.5))

    @classmethod
    def from_facts(cls, config: VisitsConfig, facts: Mapping[str, Any]) -> Self:
        """Rebuild the model that a run folder describes, without its weights."""
        return cls(config, facts)

    def forward(
        self, x: Tensor, asked: Tensor, nodes: Tensor, lags: Tensor, graphs: Sequence[Graph]
    ) -> Tensor:
        """Return the logits of the next drugs, `[Q, drugs]`; see `plait.zoo.RGNN.forward`."""
        return self.network(x, asked, nodes, lags, graphs)

    def views(self, histories: Histories) -> Views:
        """Return both views of histories of the model's codes."""
        return Views(histories, self.relations, self.window, self.network.output.weight.device)

    @torch.no_grad()
    def chances(self, batches: Sequence[Batch]) -> Tensor:
        """Return the probabilities of the next drugs, `[Q, drugs]`, float64 on the CPU."""
        return torch.cat([self(*b.inputs).double().sigmoid().cpu() for b in batches])
