"""What comes next at every node of a graph, from what was measured there."""

from plait.tasks.entry import TaskEntry, TaskOption

ENCODING = TaskOption("encoding", str, "Encoding of --data. Default: the run's own.")

TASK = TaskEntry(
    name="forecast",
    help="Learn to forecast a measurement at every node of a graph.\n\n"
    "Example: plait train forecast --data speeds.csv --graph roads.csv --out runs/speeds",
    config="plait.tasks.forecast.config:ForecastConfig",
    task="plait.tasks.forecast.task:ForecastTask",
    model="plait.tasks.forecast.model:Forecaster",
    page="plait.tasks.forecast.page:page",
    score="plait.tasks.forecast.inference:score_forecast",
    predict="plait.tasks.forecast.inference:predict_forecast",
    follow="plait.tasks.forecast.following:follow_rows",
    export="plait.tasks.forecast.export:forecast_form",
    probe="plait.tasks.forecast.inference:probe",
    score_data="a table of the same nodes",
    predict_data="a table that ends with the latest measurements of the same nodes",
    predicts="the next steps of every node",
    score_options=(
        ENCODING,
        TaskOption(
            "backtest",
            int,
            "Folds of the test set, each next to baselines, gradient boosting "
            "among them, that are fitted on all before it.",
        ),
        TaskOption("refit", bool, "With --backtest: train the network anew for each fold."),
        TaskOption(
            "table",
            str,
            "With --backtest: a new CSV file of every fold's, method's, node's and step's error; a "
            "picture lies next to it.",
        ),
    ),
    predict_options=(
        ENCODING,
        TaskOption(
            "follow",
            str,
            "A CSV file that grows, or - for the standard input: forecasts are written from each "
            "row when it arrives, until Ctrl-C; --data is what comes before it.",
        ),
    ),
)
