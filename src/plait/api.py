"""Every command as one call: `train`, `resume`, `load`, `score`, `predict`."""

import hashlib
import json
import os
import shlex
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from plait import launch
from plait.errors import InputError
from plait.in_memory import as_files, in_memory
from plait.news import messages_to
from plait.tasks import (
    TASKS,
    config_class,
    draw_function,
    follow_trained,
    model_class,
    predict_trained,
    require_predictions,
    score_trained,
    task_class,
)
from plait.terminal import show
from plait.text_files import require_path
from plait.training.budget import planned
from plait.training.checkpoint import load_tensors, load_weights
from plait.training.config import TrainingConfig
from plait.training.events import require_log
from plait.training.files import write_aside
from plait.training.followed import create_run, open_run
from plait.training.loop import train as run_loop
from plait.training.notebook import default_progress
from plait.training.optimizer import require_optimizer
from plait.training.progress import Progress
from plait.training.random import seed_all
from plait.training.ranks import Ranks, current_ranks, launched
from plait.training.run import GIVEN, Run, next_free
from plait.training.signals import stop_signals
from plait.training.sizes import require_sizes


def train(
    task: str,
    *,
    out: str | os.PathLike[str] | None = None,
    recipe: str | None = None,
    from_run: str | os.PathLike[str] | Run | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Train on a task and save everything in a run folder.

    Parameters
    ----------
    task : str
        "text", "memory", "nodes", "links", "communities", "forecast", "digits", "scenes",
        "structure", "visits",
        or one of an installed package.
    out : path
        The run folder, new. None: `runs/TASK-DATA` (or TASK-PROBLEM), with a number behind it if
        that is there.
    recipe : str
        A named set of options, such as "report"; those given too override it.
    from_run : path or Run
        Initialise the weights from this run; its sizes are taken over.
    progress : Progress
        Receives progress; None: a notebook shows it, all else is silent.
    **options
        The fields of the task's configuration, as on the command line: `data`, `cell`, `steps`, …
        Those that name a file also take what it would hold, a DataFrame or a text of several
        lines, which is kept in the run folder under `given/`.

    Returns
    -------
    Run
        The folder; `plait.load(run)` gives the trained model, `run.records("test")` the scores.

    Raises
    ------
    InputError
        For options and data that cannot be used.

    Example
    -------
    >>> import plait, tempfile
    >>> run = plait.train("text", data="python-docs", out=tempfile.mkdtemp() + "/run",
    ...                   hidden_size=16, layers=1, steps=5)
    >>> len(plait.load(run).generate("The ", 20))
    24
    """
    with launched() as ranks:
        progress = _shown_by(ranks, progress)
        with messages_to(progress.working):
            return _train(ranks, task, out, recipe, from_run, progress, options)


def _shown_by(ranks: Ranks, progress: Progress | None) -> Progress:
    """Return who receives progress: of several processes the first one's alone."""
    if not ranks.is_first:
        return Progress()
    return default_progress() if progress is None else progress


def _train(
    ranks: Ranks,
    task: str,
    out: str | os.PathLike[str] | None,
    recipe: str | None,
    from_run: str | os.PathLike[str] | Run | None,
    progress: Progress,
    options: dict[str, Any],
) -> Run:
    """Train; news goes to whoever receives it."""
    with ranks.together():
        kind = config_class(task)
        earlier = None if from_run is None else opened(from_run)
        if earlier is not None:
            _require_same_sizes(task, kind, earlier, options)
            own = [name for name in kind.architecture if name in earlier.config]
            options = {name: earlier.config[name] for name in own} | options
        given = {name: options[name] for name in kind.paths if in_memory(options.get(name))}
        config = kind.of(options | {name: name for name in given}, recipe)
    path = Path(ranks.first(lambda: str(_free_place(task, config, out))))
    with ExitStack() as stack:
        given_in = path / GIVEN
        if not ranks.is_first:
            given_in = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with as_files(given, given_in, _encoding_of(config)) if given else nullcontext({}) as files:
            with ranks.together():
                config = kind.of(options | files, recipe)
                known = None if earlier is None else earlier.facts
                problem = make_task(task, config, known)
                facts = dict(problem.facts())
                if earlier is not None:
                    facts["began_with"] = str(earlier.path.absolute())
            _require_agreement(ranks, run=str(path), task=task, config=config, facts=facts)
            exact = [f.name for f in fields(kind)] if recipe in kind.exact_recipes else []
            exact += kind.architecture if earlier is not None else ()
            with ranks.together():
                sized = problem.config  # what follows from the data, and so is in the facts
                problem = planned(
                    problem, {*options, *exact}, partial(make_task, task, known=known)
                )
                plan = {name: value for name, value in vars(problem.config).items()
                        if getattr(sized, name) != value}  # fmt: skip
                config = replace(config, **plan)
                if earlier is not None:
                    problem.load_pretrained(load(earlier, _device_of(problem)))
            if ranks.count > 1:
                facts["processes"] = ranks.count
            run = create_run(path, task, config, facts)
        _go(problem, run, progress, resume=False)
    return run


def _free_place(task: str, config: TrainingConfig, out: str | os.PathLike[str] | None) -> Path:
    """Return the path of a new run folder."""
    if out is None:
        return next_free(Path("runs"), f"{task}-{config.subject_name}".rstrip("-"))
    Run.require_free(Path(out))
    return Path(out)


def _require_agreement(
    ranks: Ranks, *, task: str, config: TrainingConfig, facts: Mapping[str, Any], **others: str
) -> None:
    """Refuse processes with other options or other data; where the data lies may differ."""
    given = {n: v for n, v in asdict(config).items() if n not in config.paths}
    flags = {f"--{name.replace('_', '-')}": value for name, value in given.items()}
    ranks.require_same({"task": task, **flags, **others}, "options")
    texts = {name: json.dumps(value, sort_keys=True) for name, value in facts.items()}
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    ranks.require_same(digests, "data")


def resume(run: str | os.PathLike[str] | Run, progress: Progress | None = None) -> Run:
    """Resume a run that was stopped, from its last checkpoint, bit for bit.

    A run without a checkpoint starts at step 1.

    On the same machine, with the same versions and threads, weights and scores are the same as
    without the interruption.

    Parameters
    ----------
    run : path or Run
    progress : Progress
        Receives progress; None: a notebook shows it, all else is silent.

    Raises
    ------
    InputError
        If no checkpoint is intact, or the data has changed since the run started.

    Example
    -------
    >>> import plait, tempfile
    >>> run = plait.train("nodes", data="karate", steps=5, out=tempfile.mkdtemp() + "/run")
    >>> before = run.records("test")
    >>> run = plait.resume(run)                   # it is finished: nothing changes
    >>> run.records("test") == before
    True
    """
    with launched() as ranks:
        progress = _shown_by(ranks, progress)
        with messages_to(progress.working):
            return _resume(ranks, run, progress)


def _resume(ranks: Ranks, given: str | os.PathLike[str] | Run, progress: Progress) -> Run:
    """Resume; news goes to whoever receives it."""
    run = open_run(lambda: opened(given))
    before, quoted = run.facts.get("processes", 1), shlex.quote(str(run.path))
    if before != ranks.count:
        launcher = f"torchrun --nproc-per-node {before} -m plait" if before > 1 else "plait"
        raise InputError(
            f"{run.path} was trained by {before} processes and goes on with as many, not with "
            f"{ranks.count}: {launcher} resume {quoted}"
        )
    unbegun = ranks.first(lambda: run.is_unbegun)
    with ranks.together():
        config = config_of(run)
        with _of_usable_facts(run):
            problem = make_task(run.task, config, run.facts)
        problem.require_same(run.facts)
        if unbegun and "began_with" in run.facts:
            problem.load_pretrained(load(run.facts["began_with"], _device_of(problem)))
    _go(problem, run, progress, resume=True)
    return run


def load(run: str | os.PathLike[str] | Run, device: str = "cpu") -> Any:
    """Load the trained model of a run folder, with its best weights on validation.

    Parameters
    ----------
    run : path or Run
    device : str

    Returns
    -------
    nn.Module
        The task's model in evaluation mode; that of "text" can `generate`. Where the task predicts
        a table, `model.predict(data)` returns it, a DataFrame, as `plait.api.predictions` does;
        `data` may be a DataFrame.

    Raises
    ------
    InputError
        For a folder that is not a run, or whose files are damaged.

    Example
    -------
    >>> import plait, tempfile
    >>> run = plait.train("nodes", data="karate", steps=5, out=tempfile.mkdtemp() + "/run")
    >>> plait.load(run.path).training
    False
    """
    run = opened(run)
    model = _loaded(run, run.model_path, device)
    if TASKS[run.task].predict:
        model.predict = partial(_predicted, run, model)
    return model


def load_kept(
    run: str | os.PathLike[str] | Run, device: str = "cpu", parts: int = 3
) -> dict[int, Any]:
    """Load the models that a run kept, by their step: at thirds of its training, or other parts.

    Runs of texts keep sixths, others thirds; of those asked for, a run has what it kept.
    Raises `InputError` when it has not come that far.
    """
    run = opened(run)
    config, kept = config_class(run.task).from_dict(run.config), run.kept_steps()
    ends, near = config.ends_of_parts(parts), config.steps / (4 * parts)  # steps may have changed
    chosen = [step for step in kept if min(abs(step - e) for e in ends) <= near] or kept[-1:]
    models = {step: _loaded(run, run.kept_path(step), device) for step in chosen}
    if not models:
        raise InputError(
            f"{run.path} has kept no weights yet; train it further: plait resume "
            f"{shlex.quote(str(run.path))}"
        )
    return models


def score(
    run: str | os.PathLike[str] | Run,
    data: Any = None,
    *,
    device: str = "cpu",
    **options: Any,
) -> dict[str, float]:
    """Score the trained model of a run on other data, or on its own test set.

    Parameters
    ----------
    run : path or Run
    data : str or DataFrame
        Other data, all of it: a path, a name, a text of several lines or a DataFrame. None: the
        run's test set.
    device : str
    **options
        Those of the task, such as `skip_unknown` and `dynamic` of "text": see `plait score --help`.

    Returns
    -------
    dict
        The scores by name, the baselines' among them.

    Raises
    ------
    InputError
        For data that cannot be read, an option that is not for the task, and where the run's own
        data is no longer what it was.

    Example
    -------
    >>> import plait, tempfile
    >>> run = plait.train("nodes", data="karate", steps=5, out=tempfile.mkdtemp() + "/run")
    >>> 0 <= plait.score(run)["accuracy"] <= 1
    True
    """
    run = opened(run)
    config = config_of(run)
    encoding = options.get("encoding") or _encoding_of(config)
    with torch.no_grad(), _as_path(data, encoding) as path:
        return score_trained(run.task, load(run, device), config, run.facts, path, **options)


def predictions(
    run: str | os.PathLike[str] | Run,
    data: Any = None,
    *,
    device: str = "cpu",
    **options: Any,
) -> Any:
    """Return what the trained model of a run predicts, as a pandas DataFrame.

    Arguments and refusals are those of `predict`.

    Example
    -------
    >>> import plait, tempfile
    >>> run = plait.train("links", data="karate", steps=5, out=tempfile.mkdtemp() + "/run")
    >>> plait.api.predictions(run, node="33", top=3).shape
    (3, 5)
    """
    run = opened(run)
    require_predictions(run.task)
    return _predicted(run, load(run, device), data, **options)


def _predicted(run: Run, model: Any, data: Any = None, **options: Any) -> Any:
    """Return a model's predictions; `load` makes it the `predict` of the model."""
    config = config_of(run)
    encoding = options.get("encoding") or _encoding_of(config)
    with torch.no_grad(), _as_path(data, encoding) as path:
        return predict_trained(run.task, model, config, run.facts, path, **options)


@contextmanager
def _as_path(data: Any, encoding: str) -> Iterator[str | None]:
    """Return data as a path or a name; what is in memory is a file as long as it is read."""
    if not in_memory(data):
        yield data
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        as_files({"data": data}, Path(folder), encoding) as files,
    ):
        yield files["data"]


def _encoding_of(config: TrainingConfig) -> str:
    """Return the encoding in which a task reads its files."""
    return getattr(config, "encoding", "utf-8")


def predict(
    run: str | os.PathLike[str] | Run,
    data: Any = None,
    *,
    out: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    **options: Any,
) -> Path:
    """Write what the trained model of a run predicts to a CSV or a JSON file.

    With an option that asks for reasons, `why` of "nodes" and "links", a picture of them is written
    next to it, of the same name with the ending .png.

    Parameters
    ----------
    run : path or Run
    data : str or DataFrame
        What to predict of, where the task takes other data; None: the run's own.
    out : path
        The file, new; NAME.json holds a list of objects, any other a table as CSV. None:
        `predictions.csv` in the run folder.
    device : str
    **options
        Those of the task, such as `node` and `top` of "links": see `plait predict --help`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        For a task that predicts no table, an option that is not for it, and where the file is
        there already.

    Example
    -------
    >>> import plait, tempfile
    >>> run = plait.train("nodes", data="karate", steps=5, out=tempfile.mkdtemp() + "/run")
    >>> plait.predict(run).read_text().splitlines()[0]
    'id,label,probability'
    """
    run = opened(run)
    path = run.path / "predictions.csv" if out is None else Path(out)
    require_path(path)
    if path.exists():
        raise InputError(f"{path} exists already; give another --out")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is no folder, so {path.name} cannot be written there")
    draw, drawn = draw_function(run.task, options), path.with_suffix(".png")
    if draw is not None and drawn.exists():
        raise InputError(f"{drawn} exists already; give another --out")
    table = predictions(run, data, device=device, **options)
    as_json = path.suffix == ".json"
    text = table.to_json(orient="records", indent=1) if as_json else table.to_csv(index=False)
    if draw is not None and len(table):
        with torch.no_grad():
            draw(load(run, device), config_of(run), run.facts, table, drawn)
    write_aside(path, text.encode())
    return path


def follow(
    run: str | os.PathLike[str] | Run,
    source: str,
    data: str | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    **options: Any,
) -> None:
    """Write what a trained model predicts from each row when it arrives, as lines of CSV.

    Until Ctrl-C, or the end of the standard input.

    Parameters
    ----------
    run : path or Run
    source : str
        A file that may grow, or "-", the standard input.
    data : str
        What comes before its first row. None: nothing.
    out : path
        A new file. None: the standard output.
    device : str
    **options
        As those of `predict`.
    """
    run = opened(run)
    if out is not None and Path(out).exists():
        raise InputError(f"{out} exists already; give another --out")
    config, model = config_of(run), load(run, device)
    with torch.no_grad(), stop_signals() as stop:
        lines = follow_trained(run.task, model, config, run.facts, source, stop, data, **options)
        with nullcontext(sys.stdout) if out is None else Path(out).open("x") as file:
            for line in lines:
                show(line, file)


def _loaded(run: Run, path: Path, device: str) -> Any:
    """Load a run's model with the weights of one of its files."""
    config = config_of(run)
    require_sizes(config)
    with _of_usable_facts(run):
        model = model_class(run.task).from_facts(config, run.facts)
    if not path.exists():
        raise InputError(
            f"{path} is not there, as the run has not reached its first validation; train it "
            f"further: plait resume {shlex.quote(str(run.path))}"
        )
    tensors, _ = load_tensors(path)
    load_weights(model, tensors, path)
    return model.to(device).eval()


def config_of(run: Run) -> Any:
    """Return a run's configuration; `InputError` names the file where a value cannot be.

    Data that was given in memory lies in the run folder, also where the folder has been moved.
    """
    kind, values = config_class(run.task), dict(run.config)
    for name in kind.paths:
        file = Path(str(values.get(name, "")))
        own = (run.path / GIVEN / file.name).absolute()
        if file.parent.name == GIVEN and not file.exists() and own.is_file():
            values[name] = str(own)
    try:
        return kind.from_dict(values)
    except InputError as error:
        raise InputError(f"{run.path / 'config.json'}: {error}") from None


@contextmanager
def _of_usable_facts(run: Run) -> Iterator[None]:
    """Raise `InputError` where what a run's file says of its model and data is of no use."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Initializing zero-element")  # sizes of 0
            yield
    except InputError:
        raise
    except (
        LookupError, TypeError, ValueError, AttributeError, ArithmeticError, UserWarning,
        RuntimeError,
    ) as error:  # fmt: skip
        if isinstance(error, RuntimeError) and "memory" in str(error):
            raise
        raise InputError(f"{run.path / 'config.json'} is damaged: {error!r}") from error


def choose_device(name: str) -> torch.device:
    """Return the device that "auto", "cpu" or "cuda" means here."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("--device cuda: torch finds no GPU here; use --device cpu")
    if name == "cpu" or not available:
        return torch.device("cpu")
    # without it gradients of cuDNN's recurrences may differ from run to run (see torch.nn.LSTM)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if current_ranks().count == 1:
        return torch.device("cuda")
    local, count = launch.local_rank(), torch.cuda.device_count()
    if local >= count:
        raise InputError(
            f"this machine has {count} GPUs, too few for one per process; start it with "
            f"torchrun --nproc-per-node {count}, or give --device cpu"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def set_threads(count: int) -> None:
    """Set the CPU threads of torch and of NumPy's linear algebra; 0 keeps their defaults."""
    if not 0 <= count <= 1024:
        raise InputError(f"--threads must be from 0 to 1024, not {count}")
    if count:
        torch.set_num_threads(count)
        threadpool_limits(count, user_api="blas")  # its threads spin while they wait


def opened(run: str | os.PathLike[str] | Run) -> Run:
    """Return a run by its folder."""
    return run if isinstance(run, Run) else Run.open(Path(run))


def _require_same_sizes(
    task: str, kind: type[TrainingConfig], earlier: Run, options: Mapping[str, Any]
) -> None:
    if earlier.task != task:
        raise InputError(f"{earlier.path} was trained on {earlier.task!r}, not on {task!r}")
    for name in kind.architecture:
        if (
            name in earlier.config
            and options.get(name, earlier.config[name]) != earlier.config[name]
        ):
            raise InputError(
                f"--{name.replace('_', '-')} {options[name]} does not fit {earlier.path}, which "
                f"has {earlier.config[name]}; leave the option out, it is taken over"
            )


def make_task(task: str, config: TrainingConfig, known: Mapping[str, Any] | None = None) -> Any:
    """Make a task with its data and its model, the initial weights drawn from the seed."""
    require_sizes(config)
    require_log(config)
    set_threads(config.threads)
    device = choose_device(config.device)
    with torch.random.fork_rng(devices=[]):
        seed_all(config.seed, 0)
        problem = task_class(task)(config, device, known)
    require_optimizer(problem.model, config)
    return problem


def _device_of(problem: Any) -> str:
    return str(next(problem.model.parameters()).device)


def _go(problem: Any, run: Run, progress: Progress, *, resume: bool) -> None:
    lines = {"run folder": str(run.path)}
    if (count := problem.ranks.count) > 1:
        same = "" if problem.splits_batches else "; all make the same step, which gains nothing"
        lines["processes"] = f"{count}{same}"
    progress.announce(
        f"plait {run.task}",
        problem.summary() | lines,
        steps=problem.config.steps,
        rate=problem.units_per_step,
        unit=problem.unit,
    )
    run_loop(problem, run, progress, resume=resume)
