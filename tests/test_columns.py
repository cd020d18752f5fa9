"""What a column is, and what is refused because it is ambiguous."""

import numpy as np
import pytest

from plait.columns import far_values, read_numbers, refuse_large
from plait.errors import InputError


def read(*columns: list[str], **options):
    texts = np.array(list(zip(*columns, strict=True)), dtype=object)
    names = [f"c{k}" for k in range(len(columns))]
    return read_numbers(texts, names, lambda row: f"line {row + 2}", **options)


@pytest.mark.parametrize(
    ("columns", "values"),
    [
        ([["1,75", "50,0", ""]], [[1.75, 50, np.nan]]),
        ([["1.234,5", "2", "-3,25e1"], ["1.000", "2.000", "17"]], [[1234.5, 2, -32.5],
                                                                 [1000, 2000, 17]]),
        ([["1,234", "2,500", "7"], ["1.5", "2", "3"]], [[1234, 2500, 7], [1.5, 2, 3]]),
        ([["1,234.5", "2", "1"]], [[1234.5, 2, 1]]),
        ([["1,234,567", "1", "NA"]], [[1234567, 1, np.nan]]),
        ([["0,123", "1", "2"]], [[0.123, 1, 2]]),
        ([["1 234", "1'234", "6"]], [[1234, 1234, 6]]),
        ([["TRUE", "false", ""]], [[1, 0, np.nan]]),
        ([["1.5", "n/a", "N/A"]], [[1.5, np.nan, np.nan]]),
        ([["1.234", "2.5", "3"]], [[1.234, 2.5, 3]]),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(columns, values):
    found = read(*columns)
    np.testing.assert_array_equal(found.values.T, values)
    assert not found.bad.any()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([["1,234", "2,500", "7"]], "line 2, column 'c0': '1,234' may have a decimal comma or a "),
        ([["1,75", "2.5", "3"]], "line 3, column 'c0': '2.5' has another decimal mark than others"),
        (
            [["1,75", "1", "2"], ["1", "0.5", "1"]],
            "line 3, column 'c1': '0.5' has a decimal point, and '1,75' in column 'c0' a decimal",
        ),
    ],
)
def test_a_mark_that_may_be_either_is_refused(columns, message):
    with pytest.raises(InputError) as caught:
        read(*columns)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["six", "50%", "12.03.2024", "1_000", "0x10", "٣", "1e", "5 kg"])
def test_what_is_no_number_is_marked(text):
    found = read(["1", text, "3"])
    assert found.bad.T.tolist() == [[False, True, False]]
    np.testing.assert_array_equal(found.values.T, [[1, np.nan, 3]])


def test_missing_values_may_be_written_in_any_way():
    found = read(["-9999", "-9999.0", "unknown", "3"], missing=["-9999", "unknown"])
    np.testing.assert_array_equal(found.values.T, [[np.nan, np.nan, np.nan, 3]])
    assert not found.bad.any()


@pytest.mark.parametrize(
    ("column", "found"),
    [
        ([12, -9999, 15, 14, 13], {-9999: (1, [0])}),
        ([12, 999, 15, 14, 13, 999], {999: (2, [0])}),
        ([60, 0, 62, 65, 0, 61], {0: (2, [0])}),
        ([-1, 25, 40, 12, 0, 30, 33], {-1: (1, [0])}),
        ([12, 700, 15, 14, 13], {}),  # once, and no usual code
        ([0, 1, 0, 1, 1], {}),
        ([-1, 0, 1, 2, 3], {}),
        ([0, 0, 1, 2, 50], {}),
        ([5, 5, 5, 5], {}),
        ([np.nan] * 5, {}),
    ],
)
def test_far_values_are_those_that_may_mean_missing(column, found):
    assert far_values(np.array(column, dtype=float)[:, None]) == found


@pytest.mark.parametrize(
    ("value", "message"),
    [(1e200, "it is beyond ±1e\\+30; give it in"), (-np.inf, "it is infinite")],
)
def test_numbers_that_cannot_be_computed_with(value, message):
    with pytest.raises(InputError, match=message):
        refuse_large(np.array([[1.0], [value]]), lambda row, column: "it is")


def test_a_whole_number_beyond_all_floats_is_infinite_next_to_decimal_commas():
    texts = np.array([["1,25", "true"], ["9" * 400, "false"]], dtype=object)
    assert read_numbers(texts, ["a", "b"], str).values.tolist() == [[1.25, 1], [np.inf, 0]]
