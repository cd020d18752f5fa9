"""Find the communities of a graph without labels."""

from plait.tasks.entry import TaskEntry

TASK = TaskEntry(
    name="communities",
    help="Find the communities of a graph, such as groups of people, without labels.\n\n"
    "Example: plait train communities --edges edges.csv --out runs/groups",
    config="plait.tasks.communities.config:CommunitiesConfig",
    task="plait.tasks.communities.task:CommunitiesTask",
    model="plait.tasks.communities.model:CommunitiesModel",
    page="plait.tasks.communities.page:page",
    predict="plait.tasks.communities.inference:predict_communities",
    predicts="the community of every node, by the embedding and by Louvain's method",
)
