"""`plait predict` of a trained model: a label for every node."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from plait.news import remark
from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.model import NodesModel
from plait.tasks.nodes.task import NodesTask


def predict_nodes(
    model: NodesModel, config: NodesConfig, facts: Mapping[str, Any], data: str | None = None
) -> pd.DataFrame:
    """Label every node of the run's own graph, those without a label too.

    Parameters
    ----------
    model : NodesModel
    config, facts
        Of its run folder.
    data : None
        A run knows its own graph alone.

    Returns
    -------
    DataFrame
        A row for every node: `id`, `label` (the likeliest class), `probability` (of it, in
        the mixture).

    Raises
    ------
    InputError
        Where the graph is gone or is another by now.
    """
    task = NodesTask.restore(model, config, facts)
    remark("read", task.notes)
    probability, label = task.answers().exp().max(-1)
    return pd.DataFrame(
        {
            "id": task.network.ids,
            "label": [task.network.classes[k] for k in label],
            "probability": probability.cpu().numpy(),
        }
    )
