"""Moving digits: what two of them, bouncing within a frame, will show next, after GCRN."""

from plait.tasks.entry import TaskEntry

TASK = TaskEntry(
    name="digits",
    help="Predict the next frames of two digits that move and bounce.\n\n"
    "Example: plait train digits --network gcrn --order 5 --out runs/digits",
    config="plait.tasks.digits.config:DigitsConfig",
    task="plait.tasks.digits.task:DigitsTask",
    model="plait.tasks.digits.model:DigitsModel",
    score="plait.tasks.digits.inference:score_digits",
    score_data="other digits, as --digits of plait train digits",
)
