"""The tasks: one folder each, with its configuration, data, model, loss and scores."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from plait.errors import InputError
from plait.training.config import TrainingConfig


class _Home(NamedTuple):
    """Where a task's classes are, and what its command says."""

    help: str
    config: str
    task: str
    model: str
    score: str
    published: str = ""
    probe: str = ""
    predict: str = ""
    repetition: str = ""


TASKS = {
    "text": _Home(
        "Learn a text, by characters, bytes or words, to write on in its voice.\n\n"
        "Example: plait train text --data book.txt --out runs/book",
        "plait.tasks.text.config:TextConfig",
        "plait.tasks.text.task:TextTask",
        "plait.tasks.text.model:TextModel",
        "plait.tasks.text.heldout:score_text",
        probe="plait.tasks.text.heldout:probe",
        repetition="plait.tasks.text.repetition:measure_repetition",
    ),
    "memory": _Home(
        "Learn to answer a question about a sequence after having read it.\n\n"
        "Example: plait train memory --problem recall --length 50 --cell gru --until-converged",
        "plait.tasks.memory.config:MemoryConfig",
        "plait.tasks.memory.task:MemoryTask",
        "plait.tasks.memory.model:MemoryModel",
        "plait.tasks.memory.scores:score_memory",
        published="plait.tasks.memory.published:published_steps",
        probe="plait.tasks.memory.scores:probe",
    ),
    "nodes": _Home(
        "Label the nodes of a graph, such as people by their communities, from a few labels.\n\n"
        "Example: plait train nodes --edges edges.csv --nodes nodes.csv --label club",
        "plait.tasks.nodes.config:NodesConfig",
        "plait.tasks.nodes.task:NodesTask",
        "plait.tasks.nodes.model:NodesModel",
        "plait.tasks.nodes.answers:score_trained",
        predict="plait.tasks.nodes.answers:predict_nodes",
    ),
    "visits": _Home(
        "Predict the drugs of a patient's next period; a research tool, not medical advice.\n\n"
        "Example: plait train visits --data events.csv --interactions pairs.csv --out runs/visits",
        "plait.tasks.visits.config:VisitsConfig",
        "plait.tasks.visits.task:VisitsTask",
        "plait.tasks.visits.model:VisitsModel",
        "plait.tasks.visits.answers:score_visits",
        predict="plait.tasks.visits.answers:predict_visits",
    ),
    "forecast": _Home(
        "Learn to forecast a measurement at every node of a network.\n\n"
        "Example: plait train forecast --data speeds.csv --graph roads.csv --out runs/speeds",
        "plait.tasks.forecast.config:ForecastConfig",
        "plait.tasks.forecast.task:ForecastTask",
        "plait.tasks.forecast.model:Forecaster",
        "plait.tasks.forecast.predict:score_forecast",
        predict="plait.tasks.forecast.predict:predict_forecast",
        probe="plait.tasks.forecast.predict:probe",
    ),
    "digits": _Home(
        "Predict the next frames of two digits that move and bounce.\n\n"
        "Example: plait train digits --network gcrn --order 5 --out runs/digits",
        "plait.tasks.digits.config:DigitsConfig",
        "plait.tasks.digits.task:DigitsTask",
        "plait.tasks.digits.model:DigitsModel",
        "plait.tasks.digits.task:score_digits",
    ),
    "links": _Home(
        "Recommend connections between the nodes of a graph that are not there yet.\n\n"
        "Example: plait train links --edges edges.csv --operator gcn --out runs/links",
        "plait.tasks.links.config:LinksConfig",
        "plait.tasks.links.task:LinksTask",
        "plait.tasks.links.model:LinksModel",
        "plait.tasks.links.answers:score_trained",
        predict="plait.tasks.links.answers:suggest_links",
    ),
    "scenes": _Home(
        "Say how the objects that a detector found in pictures are related.\n\n"
        "Example: plait train scenes --data scenes.json --operator attention",
        "plait.tasks.scenes.config:ScenesConfig",
        "plait.tasks.scenes.task:ScenesTask",
        "plait.tasks.scenes.model:ScenesModel",
        "plait.tasks.scenes.answers:score_scenes",
        predict="plait.tasks.scenes.answers:predict_scenes",
    ),
    "structure": _Home(
        "Answer a question about a graph, reading it as a graph or as a sequence.\n\n"
        "Example: plait train structure --problem neighbours --network lstm-dfs",
        "plait.tasks.structure.config:StructureConfig",
        "plait.tasks.structure.task:StructureTask",
        "plait.tasks.structure.model:StructureModel",
        "plait.tasks.structure.task:score_structure",
    ),
}


def config_class(task: str) -> type[TrainingConfig]:
    """Find a task's configuration; imports no torch. `InputError` for an unknown task."""
    return _load(_home(task).config)


def task_class(task: str) -> Any:
    """Find a task's class; made from a configuration and a device."""
    return _load(_home(task).task)


def model_class(task: str) -> Any:
    """Find a task's model; `from_facts(config, facts)` rebuilds it from a run folder."""
    return _load(_home(task).model)


def score_function(task: str) -> Any:
    """Find what scores a task's trained model on other data."""
    return _load(_home(task).score)


def published_steps(task: str, config: TrainingConfig) -> Mapping[str, int]:
    """Say at which step others' networks like this one had learnt, by what they measured."""
    place = _home(task).published
    return _load(place)(config) if place else {}


def probe_batch(
    task: str, model: Any, config: TrainingConfig, facts: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Give arguments of the model and targets to try a run on; `InputError` where there are none.

    They are not of the training data.
    """
    place = _home(task).probe
    if not place:
        raise InputError(f"{task} runs have no sequences to try them on")
    return _load(place)(model, config, facts)


def predict_function(task: str) -> Any:
    """Find what makes a table of a task's predictions; `InputError` where there is none."""
    place = _home(task).predict
    if not place:
        raise InputError(f"{task} runs predict no table")
    return _load(place)


def repetition_function(task: str) -> Any:
    """Find what measures how much a task's model repeats itself; `InputError` for most tasks."""
    place = _home(task).repetition
    if not place:
        raise InputError(f"--repetition is for runs that write text, not for {task!r} runs")
    return _load(place)


def _home(task: str) -> _Home:
    if task not in TASKS:
        raise InputError(f"no task named {task!r}; there are {', '.join(TASKS)}")
    return TASKS[task]


def _load(place: str) -> Any:
    module, name = place.split(":")
    return getattr(import_module(module), name)
