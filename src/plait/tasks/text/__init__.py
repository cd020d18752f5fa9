"""Learn a text, by characters, bytes or words, and write on in its voice."""

from plait.tasks.entry import TaskEntry, TaskOption

TASK = TaskEntry(
    name="text",
    help="Train a language model on a text, of characters, bytes or words, to generate more.\n\n"
    "Example: plait train text --data book.txt --out runs/book",
    config="plait.tasks.text.config:TextConfig",
    task="plait.tasks.text.task:TextTask",
    model="plait.tasks.text.model:TextModel",
    page="plait.tasks.text.page:page",
    score="plait.tasks.text.inference:score_text",
    export="plait.tasks.text.export:text_form",
    probe="plait.tasks.text.inference:probe",
    repetition="plait.tasks.text.repetition:measure_repetition",
    units="plait.tasks.text.units:find_units",
    score_data="a text by path or name, all of it",
    score_options=(
        TaskOption(
            "skip_unknown",
            bool,
            "Leave characters or words out that the model has never seen; words count as one "
            "unknown word otherwise.",
        ),
        TaskOption(
            "mix",
            bool,
            "Also score a mixture of network and n-gram, with weights fitted on the validation "
            "set; with --cache or --dynamic also a mixture of all.",
        ),
        TaskOption(
            "cache",
            bool,
            "Also score with a neural cache of the states before, fitted on the validation set.",
        ),
        TaskOption(
            "dynamic",
            bool,
            "Also score by dynamic evaluation: the weights keep learning from the text already "
            "scored, by plain and by RMS-scaled gradient descent.",
        ),
        TaskOption("encoding", str, "Encoding of --data. Default: the run's own."),
    ),
)
