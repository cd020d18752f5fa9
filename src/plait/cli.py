"""The command line. Flags are the fields of the tasks' configurations; torch comes when needed."""

import errno
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter, Token

from plait import __version__
from plait.errors import InputError
from plait.tasks import TASKS, config_class
from plait.training.config import TrainingConfig

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130

app = App(
    name="plait",
    help="Learn on sequences, on graphs, and on sequences over graphs.",
    version=__version__,
    version_flags=["--version"],
    help_flags=["--help", "-h"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # what it says, where the work is saved, is for the user
)
train = App(name="train", help="Train on a task and keep everything in a run folder.")
app.command(train)
compare = App(name="compare", help="Train with other options and seeds; say what differs.")
app.command(compare)
data = App(name="data", help="Data sets by name: terms, size, checksum, where they lie.")
app.command(data)

Seed = Annotated[int, Parameter(help="Decides what is drawn.")]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], Parameter(help="Where to compute; auto: a GPU if any.")
]
Threads = Annotated[int, Parameter(help="CPU threads; 0: torch's choice.")]


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, 2 bad input, 130 interrupted with the work saved."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run a command and give its exit code; whatever the user did wrong is one line."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return DONE
    except (CycloptsError, InputError) as error:
        return _complain(str(error))
    except KeyboardInterrupt as error:
        print(f"plait: {str(error) or 'interrupted'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
        return DONE
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        mend = "; free some, then go on with plait resume" if error.errno == errno.ENOSPC else ""
        return _complain(f"{place}{error.strerror or error}{mend}")
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        return _complain("there is not enough memory for these sizes; make them smaller")


def _complain(message: str) -> int:
    print(f"plait: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT


def _train_command(task: str) -> Callable[..., None]:
    """Make `plait train TASK`, whose flags are the fields of the task's configuration."""

    def command(
        *,
        out: Path | None = None,
        from_run: Path | None = None,
        recipe: str | None = None,
        **given: Any,
    ) -> None:
        from plait.api import train as train_task
        from plait.training.progress import progress_for

        options = {name: value for name, value in given.items() if value is not None}
        progress = progress_for(sys.stdout)
        run = train_task(
            task, out=out, from_run=from_run, recipe=recipe, progress=progress, **options
        )
        print(f"kept in {run.path}")

    subject = config_class(task).subject.upper()
    own = {
        "out": (Path, "out", f"The run folder, new. Default: runs/{task}-{subject}."),
        "from_run": (Path, "from", "A run folder whose weights to begin with."),
        **_recipe(task),
    }
    return _with_flags(command, task, own, TASKS[task].help)


def _compare_command(task: str) -> Callable[..., None]:
    """Make `plait compare TASK`, whose flags say what varies and what does not."""

    def command(
        *,
        vary: list[str] | None = None,
        seeds: str | None = None,
        out: Path | None = None,
        jobs: int | None = None,
        recipe: str | None = None,
        score: str | None = None,
        reach: float | None = None,
        **given: Any,
    ) -> None:
        from plait.comparison import compare as compare_grid
        from plait.comparison.grid import read_seeds, read_vary
        from plait.training.progress import progress_for

        if out is None:
            raise InputError("give the grid's folder: --out GRID")
        options = {name: value for name, value in given.items() if value is not None}
        grid = compare_grid(
            task, read_vary(vary or (), task), out=out, seeds=read_seeds(seeds or "3"),
            jobs=1 if jobs is None else jobs, recipe=recipe, score=score, reach=reach,
            progress=progress_for(sys.stdout), **options,
        )  # fmt: skip
        print(grid)
        print(f"kept in {grid.path}: results.csv, summary.csv, differences.csv, compare.png")
        if grid.failures:
            raise InputError(
                f"{len(grid.failures)} of the runs in {grid.path} failed, as results.csv says; "
                "the same command tries them again"
            )

    own = {
        "vary": (list[str], "vary", "FIELD=VALUE,VALUE; may be given more than once."),
        "seeds": (str, "seeds", "How many, counted from --seed, or which: 2019,2020. Default: 3."),
        "out": (Path, "out", "The grid's folder; one that was stopped goes on."),
        "jobs": (int, "jobs", "Runs at a time; they divide the threads. Default: 1."),
        **_recipe(task),
        "score": (
            str,
            "score",
            "What is compared. Default: what validation goes by.",
        ),
        "reach": (float, "reach", "Tell when the score comes to this. Default: accuracy 0.99."),
    }
    names = {f.name for f in fields(config_class(task))}
    kinds = {"cell": "lstm,gru", "operator": "gcn,attention", "network": "gcn,lstm-bfs"}
    kind = next(name for name in kinds if name in names)
    text = (
        f"Train on {task} with every combination of values and seeds; tables and a picture.\n\n"
        f"Example: plait compare {task} --vary {kind}={kinds[kind]} --vary hidden_size=64,128 "
        "--seeds 3 --jobs 2 --out runs/grid"
    )
    return _with_flags(command, task, own, text)


def _recipe(task: str) -> dict[str, tuple[Any, str, str]]:
    """Make the flag of named sets of options, where a task has some."""
    recipes = ", ".join(config_class(task).recipes)
    text = f"A named set of options, which others override: {recipes}."
    return {"recipe": (str, "recipe", text)} if recipes else {}


def _with_flags(
    command: Callable[..., None], task: str, own: dict[str, tuple[Any, str, str]], text: str
) -> Callable[..., None]:
    """Give a command flags of its own and those of the task's configuration."""
    parameters = [
        _parameter(name, kind, text, name=f"--{flag}") for name, (kind, flag, text) in own.items()
    ]
    parameters += _flags(config_class(task))
    command.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = text
    return command


def _flags(config: type[TrainingConfig]) -> list[inspect.Parameter]:
    """Turn the fields into flags: the task's own first, then those of every training."""
    shared = {f.name for f in fields(TrainingConfig)}
    own_group, shared_group = Group("Task", sort_key=1), Group("Training", sort_key=2)

    return [
        _parameter(
            f.name,
            f.type,
            f.metadata["help"],
            group=shared_group if f.name in shared else own_group,
            show_default=lambda _, default=f.default: default,
        )
        for f in fields(config)
    ]


def _parameter(field: str, kind: Any, text: str, **looks: Any) -> inspect.Parameter:
    """Make a flag; its default None tells that it was not given."""
    if kind is int:
        looks["converter"] = _integer
    annotation = Annotated[kind | None, Parameter(help=text, **looks)]
    return inspect.Parameter(
        field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _integer(kind: Any, tokens: Sequence[Token]) -> int:
    """Read a whole number; 1.5 is refused, not rounded."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value} is not a whole number") from None


for _task in TASKS:
    train.command(_train_command(_task), name=_task)
    compare.command(_compare_command(_task), name=_task)


@app.command
def resume(run: Path) -> None:
    """Go on with a run that was stopped, from its last checkpoint, bit for bit.

    Example: plait resume runs/text-presidents

    Parameters
    ----------
    run : Path
        The run folder.
    """
    from plait.api import resume as resume_run
    from plait.training.progress import progress_for

    resume_run(run, progress_for(sys.stdout))


@data.command(name="list")
def list_data() -> None:
    """List the data sets that can be had by name, and where they lie.

    Example: plait data list
    """
    from plait.data import DATA_SETS, LICENSED, find_data

    for known in DATA_SETS.values():
        place = find_data(known.file)
        print(f"{known.name:<12}{known.size:>12,} bytes  {known.terms}")
        print(f"{'':<12}{place or f'not here; plait data get {known.name}'}")
        print(f"{'':<12}sha256 {known.sha256}")
    for name, terms in LICENSED.items():
        place = find_data(f"text/{name}.train.txt")
        print(f"{name:<12}{terms}")
        print(f"{'':<12}{place or 'not here, and not to be fetched'}")


@data.command(name="get")
def get_data(name: str) -> None:
    """Fetch a data set into the user's cache, checked by its checksum.

    Example: plait data get democracy

    Parameters
    ----------
    name : str
        One of those that `plait data list` shows.
    """
    from plait.data import get_data as fetch

    print(fetch(name))


@app.command
def score(
    run: Path,
    *,
    data: str | None = None,
    skip_unknown: Annotated[bool, Parameter(negative="")] = False,
    dynamic: Annotated[bool, Parameter(negative="")] = False,
    device: Device = "auto",
    threads: Threads = 0,
) -> None:
    """Score a trained model on data that it has not seen, a baseline beside it.

    Example: plait score runs/text-presidents --data other.txt

    Parameters
    ----------
    run : Path
        The run folder.
    data : str
        A text by path or name, all of it; for memory, lengths such as 8,10,12; for scenes, a JSON
        file. Default: the run's own test part.
    skip_unknown : bool
        Leave characters or words out that the model has never seen; words count as one unknown
        word otherwise.
    dynamic : bool
        Score also with the weights learning on from what was scored.
    """
    from plait.api import choose_device, set_threads
    from plait.api import score as score_run

    set_threads(threads)
    given = {"skip_unknown": skip_unknown, "dynamic": dynamic}
    options = {name: on for name, on in given.items() if on}
    scores = score_run(run, data, device=str(choose_device(device)), **options)
    for name, value in scores.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        print(f"{name.replace('_', ' '):<30}{shown:>12}")


@app.command
def predict(
    run: Path,
    *,
    data: str | None = None,
    node: Annotated[str | None, Parameter(name="--for")] = None,
    top: int | None = None,
    out: Path | None = None,
    device: Device = "auto",
    threads: Threads = 0,
) -> None:
    """Write what a trained model predicts to a file: forecasts, labels of nodes, connections, ….

    Of visits: the drugs of each patient's next period, ranked; a research tool, not medical advice.

    Example: plait predict runs/speeds --data recent.csv --out forecast.csv

    Parameters
    ----------
    run : Path
        The run folder.
    data : str
        What to predict of, such as the latest measurements; for scenes a JSON file. Default: the
        run's own data.
    node : str
        For links: the node to suggest connections for, which are printed, unless --out is given.
        Default: all nodes.
    top : int
        For links: suggestions for a node. Default: 10.
    out : Path
        The file, new: NAME.csv or NAME.json. Default: predictions.csv in the run folder.
    """
    from plait.api import choose_device, predictions, set_threads
    from plait.api import predict as predict_table

    set_threads(threads)
    given = {"node": node, "top": top}
    options = {name: value for name, value in given.items() if value is not None}
    options["device"] = str(choose_device(device))
    if node is not None and out is None:
        print(predictions(run, data, **options).to_string(index=False))
    else:
        print(f"kept in {predict_table(run, data, out=out, **options)}")


@app.command
def generate(
    run: Path,
    *,
    prompt: Annotated[list[str] | None, Parameter(negative="")] = None,
    length: int = 300,
    temperature: float | None = None,
    beta: float | None = None,
    greedy: Annotated[bool, Parameter(negative="")] = False,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    beams: int | None = None,
    count: int = 1,
    stop: Annotated[list[str] | None, Parameter(negative="")] = None,
    skip_unknown: Annotated[bool, Parameter(negative="")] = False,
    stream: Annotated[bool, Parameter(negative="")] = False,
    listing: Annotated[bool, Parameter(negative="")] = False,
    weights: Literal["float32", "bfloat16", "int8"] = "float32",
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 0,
) -> None:
    """Write on from a prompt with the model of a run.

    Example: plait generate runs/text-presidents --prompt "The people" --beta 2

    Parameters
    ----------
    run : Path
        The run folder.
    prompt : list
        Text to go on from; may be given more than once.
    length : int
        Characters or words to write.
    temperature : float
        Divides the logits: below 1 bolder, above 1 wilder, 0 greedy.
    beta : float
        1 / temperature, as the report has it: 0 uniform, large greedy.
    greedy : bool
        The likeliest character, always.
    top_k : int
        Draw from the k likeliest characters.
    top_p : float
        Draw from the smallest set of likeliest characters that holds this probability.
    min_p : float
        Draw from characters at least this share as likely as the likeliest.
    beams : int
        Look for the likeliest text, keeping so many at every character (beam search).
    count : int
        Write so many texts.
    stop : list
        End before this string; may be given more than once.
    skip_unknown : bool
        Leave characters or words of the prompt out that the model has never seen.
    stream : bool
        Print each character or word as it is drawn.
    listing : bool
        The report's layout: what the weights at 1/3, 2/3 and 3/3 of the training write.
    weights : str
        Round the matrices to bfloat16 or int8, faster for large networks, and say what that costs
        in bits per character.
    """
    from plait.api import choose_device, load, load_kept, set_threads
    from plait.generation import WritesText
    from plait.tasks import model_class
    from plait.training.run import Run

    set_threads(threads)
    opened = Run.open(run)
    if not issubclass(model_class(opened.task), WritesText):
        raise InputError(f"{run} was trained on {opened.task!r} and writes no text")
    prompts = prompt or [""]
    sampling = {
        "temperature": temperature, "beta": beta, "greedy": greedy,
        "top_k": top_k, "top_p": top_p, "min_p": min_p,
    }  # fmt: skip
    drawn = {"seed": seed, "skip_unknown": skip_unknown, **sampling}
    ways = {"--stream": stream, "--listing": listing, "--beams": beams is not None}
    chosen = [flag for flag, on in ways.items() if on]
    if len(chosen) > 1:
        raise InputError(f"give one of {' and '.join(chosen)}")
    if chosen and (count != 1 or stop or (stream and len(prompts) > 1)):
        raise InputError(f"{chosen[0]} writes one text to its end; leave out --count and --stop")
    if listing and weights != "float32":
        raise InputError("--listing shows the weights as they were trained; leave out --weights")
    if listing:
        from plait.tasks.text.listing import listing as list_thirds

        accuracy = [record["accuracy"] for record in opened.records("train")]
        models = load_kept(opened, str(choose_device(device)))
        for line in list_thirds(models, accuracy, prompts, length, **drawn):
            print(line)
        return
    model = load(opened, str(choose_device(device)))
    if weights != "float32":
        from plait.tasks.text.config import TextConfig
        from plait.tasks.text.heldout import cost_of_rounding

        trained, model = model, model.with_weights(weights)
        config = TextConfig.from_dict(opened.config)
        print(f"plait: {cost_of_rounding(trained, model, config, opened.facts)}", file=sys.stderr)
    if stream:
        symbols = model.stream(prompts[0], length, **drawn)
        print(prompts[0], end="", flush=True)
        for symbol in symbols:
            print(symbol, end="", flush=True)
        print()
        return
    for begin in prompts:
        if beams is not None:
            if any(value not in (None, False) for value in sampling.values()):
                raise InputError("--beams looks for one likeliest text; leave out how to draw")
            texts = [model.beam_search(begin, length, beams=beams, skip_unknown=skip_unknown)]
        else:
            texts = model.generate(begin, length, count=count, stop=stop or (), **drawn)
        for k, text in enumerate(texts):
            if count > 1 or len(prompts) > 1:
                print(f"--- {k}")
            print(text)


@app.command(name="inspect")
def inspect_runs(
    runs: Annotated[list[Path], Parameter(negative="")],
    *,
    out: Path | None = None,
    repetition: Annotated[bool, Parameter(negative="")] = False,
    equations: Annotated[
        Literal["text", "latex"] | bool,
        Parameter(negative="", metavar="[text|latex]", show_choices=False),
    ] = False,
    threads: Threads = 0,
) -> None:
    """Show what networks are made of, and how the gradient flows back through time in them.

    Example: plait inspect runs/recall-rnn runs/recall-lstm --out flow.png

    Parameters
    ----------
    runs : list
        Run folders; the picture has a column for each.
    out : Path
        The picture. Default: inspect.png in the first run folder.
    repetition : bool
        For text: write, and tell how much of it repeats itself, by how sharply is drawn.
    equations : str
        Print the cells' equations too, and the gradient derived from them, as text or as LaTeX.
    """
    from plait.api import set_threads
    from plait.inspection import inspect as inspect_them

    set_threads(threads)
    several = inspect_them(runs, out=out, repetition=repetition, equations=equations)
    for number, found in enumerate(several):
        print("\n" * (number > 0) + str(found))


@app.command
def study(
    sections: Annotated[list[str] | None, Parameter(negative="")] = None,
    *,
    quick: Annotated[bool, Parameter(negative="")] = False,
    out: Path | None = None,
    threads: Threads = 0,
) -> None:
    """Measure the report that this project began with anew, and tell it on one page.

    Example: plait study --quick --out runs/study

    Parameters
    ----------
    sections : list
        Names or numbers: 1 gradients, 2 gates, 3 memory, 4 text, 5 tales, 6 graphs,
        7 applications, 8 structure, 9 both. Default: all.
    quick : bool
        Everything at reduced size, in under ten minutes on two cores.
    out : Path
        The folder; one that was stopped goes on. Default: study, or study-quick.
    """
    from plait.study import make_study
    from plait.training.progress import progress_for

    progress = progress_for(sys.stdout)
    page = make_study(sections or (), quick=quick, out=out, threads=threads, progress=progress)
    print(f"kept in {page}")


if __name__ == "__main__":
    main()
