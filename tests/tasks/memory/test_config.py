"""The report's settings by problem and cell, and what is refused."""

import pytest

from plait.errors import InputError
from plait.tasks.memory.config import MemoryConfig

TABLE = ("lr", "steps", "batch_size", "hidden_size", "max_norm")


@pytest.mark.parametrize(
    ("problem", "options", "expected"),
    [
        ("baum-sweet", {"length": 4}, (1e-4, 3000, 256, 256, 10)),
        ("baum-sweet", {"length": 5}, (1e-4, 2000, 256, 256, 10)),
        ("baum-sweet", {"length": 6}, (1e-4, 1000, 256, 256, 10)),
        ("baum-sweet", {"length": 4, "cell": "gru-course"}, (1e-4, 1000, 256, 256, 10)),
        ("random-combinations", {"length": 15}, (1e-3, 2000, 128, 128, 10)),
        ("binary-palindrome", {"length": 20}, (1e-4, 3000, 256, 256, 10)),
        ("binary-palindrome", {"hidden_size": 128}, (1e-4, 3000, 256, 128, 10)),
    ],
)
def test_the_report_s_settings(problem, options, expected):
    config = MemoryConfig.of({"problem": problem, **options}, "report")
    assert tuple(getattr(config, name) for name in TABLE) == expected
    assert (config.init, config.seed) == ("kaiming", 2019)


def test_baum_sweet_embeds_its_three_tokens_in_three_dimensions():
    assert MemoryConfig.of({}, "report").embedding_size == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 1}, "baum-sweet has lengths from 2 to 18, not 1"),
        ({"eval_lengths": "8,19"}, "baum-sweet has lengths from 2 to 18, not 19"),
        ({"eval_lengths": "8;9"}, "lengths must be numbers such as 8,10,12, not '8;9'"),
        ({"problem": "sorting"}, "--problem must be baum-sweet or .*, not 'sorting'"),
        (
            {"problem": "random-combinations", "length": 5, "eval_lengths": "4,6"},
            "--eval-lengths 6 has tokens that a network of --length 5 does not know",
        ),
    ],
)
def test_what_is_impossible_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        MemoryConfig(**options)


@pytest.mark.parametrize(
    ("problem", "message"),
    [("recall", "no settings for --problem recall"), ("x", "no settings for --problem x")],
)
def test_the_report_has_three_problems(problem, message):
    with pytest.raises(InputError, match=message):
        MemoryConfig.of({"problem": problem}, "report")
