"""What a configuration takes, what it refuses, and in which words."""

import json
import math
from dataclasses import asdict, dataclass, field, fields

import pytest

from plait.errors import InputError
from plait.nn.registry import CELLS
from plait.tasks import TASKS, config_class
from plait.tasks.text.config import TextConfig
from plait.training.config import TrainingConfig, option


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", 0, "--steps must be at least 1, not 0"),
        ("steps", 1.5, "--steps must be int, not 1.5"),
        ("steps", True, "--steps must be int, not True"),
        ("steps", "10", "--steps must be int, not '10'"),
        ("steps", None, "--steps must be int, not None"),
        ("lr", -0.1, "--lr must be at least 0, not -0.1"),
        ("lr", False, "--lr must be float, not False"),
        ("lr", "0.1", "--lr must be float, not '0.1'"),
        ("lr", math.inf, "--lr must be a finite number, not inf"),
        ("lr", math.nan, "--lr must be a finite number, not nan"),
        ("save_every", math.inf, "--save-every must be a finite number, not inf"),
        ("max_norm", -math.inf, "--max-norm must be a finite number, not -inf"),
        (
            "schedule",
            "steps",
            "--schedule must be constant or cosine or linear or wsd, not 'steps'",
        ),
        (
            "schedule",
            ["cosine"],
            "--schedule must be constant or cosine or linear or wsd, not ['cosine']",
        ),
        ("device", "tpu", "--device must be auto or cpu or cuda, not 'tpu'"),
        ("warmup", -1, "--warmup must be at least 0, not -1"),
        ("average", 1, "--average must be less than 1, not 1"),
        ("average", 1.5, "--average must be less than 1, not 1.5"),
        ("weight_decay", -1e-9, "--weight-decay must be at least 0, not -1e-09"),
        ("seed", -1, "--seed must be at least 0, not -1"),
        ("seed", 2**63, f"--seed must be less than {2**63}, not {2**63}"),
        ("hidden_size", 10**20, f"--hidden-size must be less than {2**20}, not {10**20}"),
        ("threads", -1, "--threads must be at least 0, not -1"),
        ("threads", 1025, "--threads must be less than 1025, not 1025"),
        ("hidden_size", 0, "--hidden-size must be at least 1, not 0"),
        ("layers", -2, "--layers must be at least 1, not -2"),
        ("embedding_size", 0, "--embedding-size must be at least 1, not 0"),
        ("length", 0, "--length must be at least 1, not 0"),
        ("batch_size", -64, "--batch-size must be at least 1, not -64"),
        ("dropout", 1.0, "--dropout must be less than 1, not 1.0"),
        ("recurrent_dropout", -0.5, "--recurrent-dropout must be at least 0, not -0.5"),
        ("batches", "random", "--batches must be lanes or windows, not 'random'"),
        ("keep_boilerplate", 1, "--keep-boilerplate must be bool, not 1"),
        ("data", 3, "--data must be str, not 3"),
    ],
)
def test_refused(name, value, message):
    for make in (lambda: TextConfig(**{name: value}), lambda: TextConfig.from_dict({name: value})):
        with pytest.raises(InputError) as caught:
            make()
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 1),
        ("lr", 0),
        ("lr", 1),
        ("average", 0.9999),
        ("average", 0),
        ("dropout", 0),
        ("dropout", 0.999),
        ("seed", 2**63 - 1),
        ("max_norm", 0),
        ("threads", 1024),
        ("save_every", 0),
        ("warmup", 10**6),
    ],
)
def test_the_edge_of_a_range_is_in_it(name, value):
    assert getattr(TextConfig(**{name: value}), name) == value


def test_unknown_and_missing_options_are_named():
    with pytest.raises(InputError, match=r"^no option named 'hidden'; there are steps, lr, "):
        TextConfig.from_dict({"hidden": 3})

    @dataclass(frozen=True, kw_only=True)
    class Needs(TrainingConfig):
        series: str = field(metadata={"help": "The series."})

    with pytest.raises(InputError, match=r"^option 'series' is missing$"):
        Needs.from_dict({"steps": 3})
    assert Needs.from_dict({"series": "a"}).series == "a"


@pytest.mark.parametrize("task", TASKS)
def test_json_and_back(task):
    config = config_class(task)(steps=7, lr=0.1, average=0.5)
    again = type(config).from_dict(json.loads(json.dumps(asdict(config))))
    assert again == config
    assert again != type(config)(steps=7, lr=0.1)


@pytest.mark.parametrize("task", TASKS)
def test_every_option_has_a_help_text_that_is_a_sentence(task):
    for f in fields(config_class(task)):
        text = f.metadata["help"]
        assert text.endswith("."), f.name
        assert "\n" not in text, f.name


def test_table_1_of_the_report_is_the_default():
    config = TextConfig()
    assert (config.hidden_size, config.layers, config.embedding_size) == (128, 2, 128)
    assert (config.length, config.batch_size, config.steps) == (30, 64, 3000)
    assert (config.lr, config.max_norm, config.cell) == (0.002, 5.0, "lstm")
    assert (config.schedule, config.warmup, config.dropout) == ("constant", 0, 0.0)
    assert config.batches == "lanes"


def test_the_help_of_cell_names_every_cell():
    (text,) = (f.metadata["help"] for f in fields(TextConfig) if f.name == "cell")
    named = text.rstrip(".").replace(" or ", ", ").split(", ")
    assert named == list(CELLS)


def test_a_range_of_ones_own():
    @dataclass(frozen=True, kw_only=True)
    class Own(TrainingConfig):
        share: float = option(0.25, "A share.", least=0.25, below=0.5)

    assert Own(share=0.49).share == 0.49
    for share in (0.24, 0.5):
        with pytest.raises(InputError, match="--share must be"):
            Own(share=share)
