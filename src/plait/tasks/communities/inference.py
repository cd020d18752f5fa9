"""`plait predict` of a trained model: the community of every node."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from plait.graph_data.labelled_graph import UNKNOWN
from plait.news import remark
from plait.tasks.communities.config import CommunitiesConfig
from plait.tasks.communities.model import CommunitiesModel
from plait.tasks.communities.task import CommunitiesTask


def predict_communities(
    model: CommunitiesModel,
    config: CommunitiesConfig,
    facts: Mapping[str, Any],
    data: str | None = None,
) -> pd.DataFrame:
    """Return the community of every node of the run's own graph.

    Parameters
    ----------
    model : CommunitiesModel
    config, facts
        Of its run folder.
    data : None
        A run knows its own graph alone.

    Returns
    -------
    DataFrame
        A row for every node: `id`, `community` (by the embedding, from 1, the largest first),
        `louvain` (by Louvain's method, likewise; not for graphs that are too large for it), and
        `label` where the graph has labels.

    Raises
    ------
    InputError
        Where the graph is gone or is another by now.
    """
    task = CommunitiesTask.restore(model, config, facts)
    remark("read", task.notes)
    network = task.network
    columns: dict[str, Any] = {"id": network.ids, "community": task.communities() + 1}
    if task.louvain is not None:
        columns["louvain"] = task.louvain + 1
    if network.labels is not None:
        columns["label"] = [
            "" if k == UNKNOWN else network.classes[k] for k in network.labels.tolist()
        ]
    return pd.DataFrame(columns)
