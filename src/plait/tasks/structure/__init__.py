"""Graph or sequence: questions that need structure, and order, for either reader."""

from plait.tasks.entry import TaskEntry

TASK = TaskEntry(
    name="structure",
    help="Answer a question about a graph, reading it as a graph or as a sequence.\n\n"
    "Example: plait train structure --problem neighbours --network lstm-dfs",
    config="plait.tasks.structure.config:StructureConfig",
    task="plait.tasks.structure.task:StructureTask",
    model="plait.tasks.structure.model:StructureModel",
    page="plait.tasks.structure.page:page",
)
