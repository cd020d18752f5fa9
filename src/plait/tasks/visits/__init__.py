"""What is prescribed in a patient's next period. A research tool, not medical advice."""

from plait.tasks.entry import TaskEntry, TaskOption

NOT_ADVICE = "a research tool, not medical advice"

ENCODING = TaskOption("encoding", str, "Encoding of --data. Default: the run's own.")

TASK = TaskEntry(
    name="visits",
    help="Predict the drugs of a patient's next period; a research tool, not medical advice.\n\n"
    "Example: plait train visits --data events.csv --interactions pairs.csv --out runs/visits",
    config="plait.tasks.visits.config:VisitsConfig",
    task="plait.tasks.visits.task:VisitsTask",
    model="plait.tasks.visits.model:VisitsModel",
    page="plait.tasks.visits.page:page",
    score="plait.tasks.visits.inference:score_visits",
    predict="plait.tasks.visits.inference:predict_visits",
    score_data="histories, as --data of plait train visits",
    predict_data="histories, as --data of plait train visits",
    predicts=f"the drugs of each patient's next period, ranked; {NOT_ADVICE}",
    score_options=(ENCODING,),
    predict_options=(ENCODING,),
)
