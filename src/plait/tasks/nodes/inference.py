"""`plait predict` of a trained model: a label for every node."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

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
        Return the reasons for the network's label of `node` instead; see `explain_node`.

    Returns
    -------
    DataFrame
        A row for every node: `id`, `label` (the likeliest class), `probability` (of it). Where the
        answer is a mixture these are the mixture's, and with `why` too the network's own follow,
        as `network_label` and `network_probability`; a remark then says what is mixed, and that
        `change` and `label_without` are the network's.

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
    table = pd.DataFrame({"id": ids, **_labels(task, task.answers())})
    if task.mixes:
        own = _labels(task, task.logits().double().log_softmax(-1))
        table = table.assign(**{f"network_{name}": values for name, values in own.items()})
    if place is None:
        return table
    table = table.iloc[[place]].reset_index(drop=True)
    if not why:
        return table
    reasons = explain_node(task, place, top)
    if not task.mixes:
        return reasons
    answer, mixed = table.iloc[0], describe_mixture(task.mixture())
    said = f"label and probability are of {mixed}; the reasons are those of the network alone"
    remark("answer", [said])
    reasons = reasons.rename(columns={name: f"network_{name}" for name in ("label", "probability")})
    reasons.insert(1, "label", answer["label"])
    reasons.insert(2, "probability", answer["probability"])
    return reasons


def _labels(task: NodesTask, logarithms: Tensor) -> dict[str, Any]:
    """Return the likeliest class of every node, and its probability."""
    probability, label = logarithms.exp().max(-1)
    classes = task.network.classes
    return {"label": [classes[k] for k in label], "probability": probability.cpu().numpy()}


def draw_predictions(
    model: NodesModel,
    config: NodesConfig,
    facts: Mapping[str, Any],
    table: pd.DataFrame,
    path: Path,
) -> None:
    """Draw the reasons that `predict_nodes` returned as a PNG."""
    draw_node_reasons(NodesTask.restore(model, config, facts), table, path)
