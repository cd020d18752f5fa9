"""Labels for the nodes of one graph, from the labels of a few."""

from plait.tasks.entry import TaskEntry, TaskOption

TASK = TaskEntry(
    name="nodes",
    help="Label the nodes of a graph, such as people by their communities, from a few labels.\n\n"
    "Example: plait train nodes --edges edges.csv --nodes nodes.csv --label club",
    config="plait.tasks.nodes.config:NodesConfig",
    task="plait.tasks.nodes.task:NodesTask",
    model="plait.tasks.nodes.model:NodesModel",
    export="plait.tasks.nodes.export:nodes_form",
    page="plait.tasks.nodes.page:page",
    predict="plait.tasks.nodes.inference:predict_nodes",
    draw="plait.tasks.nodes.inference:draw_predictions",
    predicts="the label of every node, with its probability",
    predict_options=(
        TaskOption(
            "node",
            str,
            "The only node to label, which is printed, unless --out is given. Default: all nodes.",
            flag="for",
            prints=True,
        ),
        TaskOption("top", int, "With --why: the number of reasons. Default: 10."),
        TaskOption(
            "why",
            bool,
            "The neighbours and features of --for's node whose removal changes its answer most.",
            draws=True,
        ),
    ),
)
