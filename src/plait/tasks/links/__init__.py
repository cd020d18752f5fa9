"""Recommend connections between the nodes of a graph that are not there yet."""

from plait.tasks.entry import TaskEntry, TaskOption

TASK = TaskEntry(
    name="links",
    help="Recommend connections between the nodes of a graph that are not there yet.\n\n"
    "Example: plait train links --edges edges.csv --operator gcn --out runs/links",
    config="plait.tasks.links.config:LinksConfig",
    task="plait.tasks.links.task:LinksTask",
    model="plait.tasks.links.model:LinksModel",
    page="plait.tasks.links.page:page",
    predict="plait.tasks.links.inference:suggest_links",
    predicts="connections of each node that are not there yet, the best first",
    predict_options=(
        TaskOption(
            "node",
            str,
            "The node to suggest connections for, which are printed, unless --out is given. "
            "Default: all nodes.",
            flag="for",
            prints=True,
        ),
        TaskOption("top", int, "Suggestions for a node. Default: 10."),
    ),
)
