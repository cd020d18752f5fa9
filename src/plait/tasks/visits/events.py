"""Event tables: which patient had what, when."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from plait.errors import InputError
from plait.tables import filled_rows, read_table, refuse
from plait.times import DAY_FIRST, OFFSET, offset_of, with_dots, year_first

KINDS = ("drug", "diagnosis", "procedure")
"""Kinds of events; drugs are what is predicted."""

COLUMNS = ["patient", "period", "kind", "code"]
"""Of what `read_events` gives: a row for every event and period that it lasts into."""

LASTS = 10_000
"""Periods of one event, at most: days of 27 years."""

LAST_VISIT = 2**53
"""Whole numbers up to here are distinct as floats."""


ANOTHER_CLOCK = r"[+zZ]|[tT ]\d.*-"
"""A pattern of times that still have an offset which was not recognised, unlike +02:00."""


class Events(NamedTuple):
    """Events, a row for each and every period that it lasts into; and how they were read."""

    events: pd.DataFrame
    notes: tuple[str, ...]


def read_events(path: Path, hours: float = 24.0, encoding: str = "utf-8") -> pd.DataFrame:
    r"""Read an event table, CSV or Parquet, with these columns in any order.

    | column | needed | what it holds |
    |---|---|---|
    | patient | yes | any text that identifies a patient |
    | visit | or time | number of the patient's visit, a whole number from 0 |
    | time | or visit | when it began, such as 2020-03-01, 2020-03-01 14:30 or 2020-03-01T14:30Z |
    | kind | yes | drug, diagnosis or procedure |
    | code | yes | any text that identifies an event of its kind |
    | end | no | until when it lasted, if it did: it is in all periods before this |
    | birth | no | when the patient was born; an event before it is refused |

    Periods are visits where the table has no times, or `hours` is 0; else `hours` long each,
    counted from midnight before the patient's first event. Periods without events are no periods:
    what comes next is what comes after them. Times are those of one clock: where some name their
    offset from UTC, it is the same in all that do.

    Parameters
    ----------
    path : path
    hours : float
        Length of a period; 0: a visit.
    encoding : str
        Of the file.

    Returns
    -------
    DataFrame
        Columns `patient, period, kind, code`; periods are whole numbers that rise with time.

    Raises
    ------
    InputError
        For what cannot be read; the message says file and line.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from plait.tasks.visits.events import read_events
    >>> path = Path(tempfile.mkdtemp()) / "events.csv"
    >>> _ = path.write_text(
    ...     "patient,time,end,kind,code\n"
    ...     "ann,2020-03-01 22:00,,diagnosis,asthma\n"
    ...     "ann,2020-03-02 08:00,2020-03-04,drug,salbutamol\n"
    ... )
    >>> read_events(path)
      patient  period       kind        code
    0     ann       0  diagnosis      asthma
    1     ann       1       drug  salbutamol
    2     ann       2       drug  salbutamol
    """
    return join_events(path, hours, encoding).events


def join_events(path: Path, hours: float = 24.0, encoding: str = "utf-8") -> Events:
    """Read an event table as `read_events` does, with notes on how it was read."""
    table = read_table(path, encoding=encoding)
    table = filled_rows(path, named_small(path, table), "patient", "kind", "code")
    for name in ("patient", "code"):
        refuse(path, table, table[name] == "", lambda row, name=name: f"the {name} is missing")
    refuse(
        path,
        table,
        ~table["kind"].isin(KINDS),
        lambda row: f"kind {row.kind!r} is unknown; kinds are {', '.join(KINDS)}",
    )
    if "time" not in table and "visit" not in table:
        raise InputError(f"{path}: there must be a column visit or time; it has {', '.join(table)}")
    if "time" not in table and hours and "end" in table:
        raise InputError(f"{path}: the column end needs a column time; add it, or remove end")
    if "visit" not in table and not hours:
        raise InputError(f"{path} has no column visit; give --period-hours, such as 24")
    notes = ()
    if "time" in table:
        table, notes = _with_times(path, table)
    return Events(into_periods(path, table, hours), notes)


def into_periods(path: Path, table: Any, hours: float) -> pd.DataFrame:
    """Put events into periods: visits if `hours` is 0 or there are no times, else by the clock.

    Times and ends must be times; visits may be texts.
    """
    if "time" not in table or not hours:
        visit: Any = pd.to_numeric(table["visit"], errors="coerce")
        refuse(
            path,
            table,
            ~(visit % 1 == 0),
            lambda row: f"visit {row.visit!r} is not a whole number",
        )
        refuse(
            path,
            table,
            visit < 0,
            lambda row: f"visit {row.visit} lies before the first period; visits count from 0",
        )
        refuse(
            path,
            table,
            visit > LAST_VISIT,
            lambda row: f"visit {row.visit} is too large; number a patient's visits from 0",
        )
        return table.assign(period=visit.astype(np.int64))[COLUMNS]
    origin = table.groupby("patient")["time"].transform("min").dt.normalize()
    length = pd.Timedelta(hours=hours)
    first = (table["time"] - origin) // length
    last = first
    if "end" in table:  # until then: an end at midnight is not in the day that begins
        until = -((origin - table["end"]) // length) - 1
        last = until.fillna(first).clip(lower=first)
    count = (last - first + 1).astype(np.int64)
    if (count > LASTS).any():
        row = table[count > LASTS].iloc[0]
        raise InputError(
            f"{path}: {row['code']!r} of patient {row['patient']!r} lasts from {row['time']} until "
            f"{row['end']}, more than {LASTS:,} periods; correct the end, or give a larger "
            "--period-hours"
        )
    table = table.assign(period=first.astype(np.int64))[COLUMNS]
    rows = table.loc[table.index.repeat(count)]
    rows["period"] += rows.groupby(level=0).cumcount()
    return rows.reset_index(drop=True)


def named_small(path: Path, table: Any) -> Any:
    """Rename the columns in lower case; `InputError` where two are then the same."""
    names = [name.lower() for name in table]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"{path}, line 1: the column {twice!r} is there twice, since upper and lower case are "
            "one; rename one"
        )
    return table.set_axis(names, axis=1)


def _with_times(path: Path, table: Any) -> tuple[Any, tuple[str, ...]]:
    """Read the columns of times, of which only `time` must be filled; say how."""
    names = [name for name in ("time", "end", "birth") if name in table]
    days = [name for name in names if with_dots(table[name])]
    table = table.assign(**{name: year_first(table[name]) for name in days})
    note = f"{path}: {DAY_FIRST} in {' and '.join(map(repr, days))}"
    table = table.assign(**by_one_clock(path, table, names))
    columns = {name: read_times(path, table, name, needed=name == "time") for name in names}
    if "birth" in columns:
        refuse(
            path,
            table,
            columns["time"] < columns["birth"],
            lambda row: (
                f"patient {row.patient!r} has an event on {row.time}, before birth on {row.birth}"
            ),
        )
    return table.assign(**columns), (note,) * bool(days)


def by_one_clock(path: Path, table: Any, names: list[str]) -> dict[str, Any]:
    """Cut the offsets from UTC off columns of times; `InputError` where there are several."""
    first, cut, row = None, {}, table.index.name or "line"
    for name in names:
        offsets = table[name].str.extract(OFFSET)["offset"].fillna("")
        for line in offsets[offsets != ""].drop_duplicates().index:
            own = offset_of(table.at[line, name])
            first = first or (own, table.at[line, name], line)
            if own != first[0]:
                raise InputError(
                    f"{path}, {row} {line}: {name} {table.at[line, name]!r} has another "
                    f"offset from UTC than {first[1]!r} on {row} {first[2]}; give all with one"
                )
        pairs = zip(table[name], offsets, strict=True)
        cut[name] = [time.removesuffix(offset) for time, offset in pairs]
    return cut


def read_times(path: Path, table: Any, name: str, *, needed: bool) -> Any:
    """Read a column of times, which may have empty places unless it is `needed`."""
    texts = table[name].mask(table[name].str.contains(ANOTHER_CLOCK), "")
    read: Any = pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True)
    read = (
        read.dt.tz_localize(None).dt.as_unit("us").where(table[name].map(offset_of) == "")
    )  # two are no time
    bad = read.isna() if needed else read.isna() & (table[name] != "")
    refuse(
        path,
        table,
        bad,
        lambda row: f"{name} {row[name]!r} is not a time such as 2020-03-01 or 2020-03-01 14:30",
    )
    return read


def as_id(text: str) -> str:
    """Write a whole number in one way; another text stays as it is.

    >>> from plait.tasks.visits.events import as_id
    >>> as_id("10"), as_id("010"), as_id("10.0"), as_id("1e1"), as_id("ten"), as_id("1.5")
    ('10', '10', '10', '10', 'ten', '1.5')
    """
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and abs(number) <= LAST_VISIT else text
