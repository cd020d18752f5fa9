"""Link prediction: the missing edges of a graph."""

from plait.tasks.entry import TaskEntry, TaskOption

TASK = TaskEntry(
    name="links",
    help="Predict the missing edges of a graph (link prediction).\n\n"
    "Example: plait train links --edges edges.csv --operator gcn --out runs/links",
    config="plait.tasks.links.config:LinksConfig",
    task="plait.tasks.links.task:LinksTask",
    model="plait.tasks.links.model:LinksModel",
    export="plait.tasks.links.export:links_form",
    page="plait.tasks.links.page:page",
    predict="plait.tasks.links.inference:suggest_links",
    draw="plait.tasks.links.inference:draw_suggestions",
    predicts="edges of each node that are not there yet, the best first",
    predict_options=(
        TaskOption(
            "node",
            str,
            "The node to suggest edges for, which are printed, unless --out is given. "
            "Default: all nodes.",
            flag="for",
            prints=True,
        ),
        TaskOption(
            "other",
            str,
            "Score only the edge between this node and --for's, even if the graph has it.",
            flag="with",
        ),
        TaskOption("top", int, "Suggestions per node or, with --why, reasons. Default: 10."),
        TaskOption(
            "why",
            bool,
            "The paths and features whose removal changes the score most, of the edge "
            "between --for and --with, or of the best suggestion.",
            draws=True,
        ),
    ),
)
