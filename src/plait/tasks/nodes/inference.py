"""`plait predict` of a trained model: a label for every node."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from plait.errors import InputError
from plait.news import remark
from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.data import number_of
from plait.tasks.nodes.mixture import describe_mixture
from plait.tasks.nodes.model import NodesModel
from plait.tasks.nodes.reasons import draw_node_reasons, explain_node
from plait.tasks.nodes.task import NodesTask


def predict_nodes(
    model: NodesModel,
    config: NodesConfig,
    facts: Mapping[str, Any],
    data: str | None = None,
    *,
    node: str | None = None,
    top: int = 10,
    why: bool = False,
) -> pd.DataFrame:
    """Label every node of the run's own graph, those without a label too, or say why.

    Parameters
    ----------
    model : NodesModel
    config, facts
        Of its run folder.
    data : None
        A run knows its own graph alone.
    node : str
        The id of the only node to label. None: every node.
    top : int
        With `why`, the number of reasons.
    why : bool
        Return the reasons for the network's label of `node` instead; see `explain_node`. Where the
        answer is a mixture, a remark says which, and that the reasons are the network's.

    Returns
    -------
    DataFrame
        A row for every node: `id`, `label` (the likeliest class), `probability` (of it, in
        the mixture).

    Raises
    ------
    InputError
        Where the graph is gone or is another by now, and for an id that is not there.
    """
    if why and node is None:
        raise InputError("--why is about one node; name it with --for")
    if top < 1:
        raise InputError(f"--top must be at least 1, not {top}")
    task = NodesTask.restore(model, config, facts)
    remark("read", task.notes)
    ids = task.network.ids
    place = None if node is None else number_of(task.network, node)
    probability, label = task.answers().exp().max(-1)
    if why and place is not None:
        if task.mixes:
            said = f"{task.network.classes[label[place]]} ({probability[place]:.1%})"
            weights = describe_mixture(task.mixture())
            remark("answer", [f"{said}, of {weights}; the reasons are those of the network alone"])
        return explain_node(task, place, top)
    table = pd.DataFrame(
        {
            "id": ids,
            "label": [task.network.classes[k] for k in label],
            "probability": probability.cpu().numpy(),
        }
    )
    return table if place is None else table.iloc[[place]].reset_index(drop=True)


def draw_predictions(
    model: NodesModel,
    config: NodesConfig,
    facts: Mapping[str, Any],
    table: pd.DataFrame,
    path: Path,
) -> None:
    """Draw the reasons that `predict_nodes` returned as a PNG."""
    draw_node_reasons(NodesTask.restore(model, config, facts), table, path)
