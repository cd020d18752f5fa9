"""Relations between the objects that a detector found in images."""

from plait.tasks.entry import TaskEntry

TASK = TaskEntry(
    name="scenes",
    help="Predict how the objects that a detector found in images are related.\n\n"
    "Example: plait train scenes --data scenes.json --operator attention",
    config="plait.tasks.scenes.config:ScenesConfig",
    task="plait.tasks.scenes.task:ScenesTask",
    model="plait.tasks.scenes.model:ScenesModel",
    page="plait.tasks.scenes.page:page",
    score="plait.tasks.scenes.inference:score_scenes",
    predict="plait.tasks.scenes.inference:predict_scenes",
    score_data="a JSON file of scenes with relations",
    predict_data="a JSON file of scenes",
    predicts="the likeliest relations of every scene",
)
