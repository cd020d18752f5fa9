"""The model of the communities task: Deep Graph Infomax."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from plait.tasks.communities.config import CommunitiesConfig
from plait.tasks.nodes.model import encoder_of


class CommunitiesModel(nn.Module):
    """Embeds nodes such that each differs from one with another's features, by the whole graph.

    h = PReLU(encoder(x, graph)),  s = σ(mean_i h_i),  D(h_i) = h_iᵀ W s

    and D is trained to be high for h, and low for h~ = PReLU(encoder(x~, graph)), in which the rows
    of the features are shuffled. Nodes without features have a learnt vector each.

    Shapes: embeddings `[N, H]` to logits `[N]`.

    Source: Veličković et al. (2019), Deep Graph Infomax, section 3.

    Example
    -------
    >>> import torch
    >>> from plait.tasks.communities.config import CommunitiesConfig
    >>> from plait.tasks.communities.model import CommunitiesModel
    >>> model = CommunitiesModel(CommunitiesConfig(hidden_size=8), nodes=34, features=0)
    >>> h = torch.ones(34, 8)
    >>> model.discriminate(h, model.summarise(h)).shape
    torch.Size([34])
    """

    def __init__(self, config: CommunitiesConfig, *, nodes: int, features: int) -> None:
        super().__init__()
        H = config.hidden_size
        self.encoder = encoder_of(config, nodes=nodes, features=features, outputs=H)
        self.activation = nn.PReLU(init=0.25)
        self.weight = nn.Parameter(torch.empty(H, H))
        nn.init.xavier_uniform_(self.weight)

    @classmethod
    def from_facts(cls, config: CommunitiesConfig, facts: Mapping[str, Any]) -> Self:
        """Rebuild the model that a run folder describes, without its weights."""
        return cls(config, nodes=facts["nodes"], features=facts["features"])

    def summarise(self, h: Tensor) -> Tensor:
        """Return s of embeddings, `[H]`."""
        return h.mean(0).sigmoid()

    def discriminate(self, h: Tensor, summary: Tensor) -> Tensor:
        """Return the logits of embeddings, `[N]`."""
        return h @ (self.weight @ summary)
