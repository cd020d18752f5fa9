"""Users' Parquet as tables of texts, every row known by its number."""

from pathlib import Path
from typing import Any

import pandas as pd

from plait.errors import InputError


def read_texts(path: Path) -> Any:
    """Read a Parquet file as a DataFrame of texts, "" where there is none.

    Its index counts the rows from 1 and is named "row". The texts are kept as Arrow keeps them, in
    their bytes and eight more.

    Raises
    ------
    InputError
        Without pyarrow, and for what is no such file.
    """
    try:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(
            f"{path}: reading Parquet takes pyarrow, which is missing; pip install "
            "'plait[parquet]', or give CSV"
        ) from None
    try:
        table = pq.read_table(path)
        columns: dict[str, Any] = {}
        for name, column in zip(table.column_names, table.columns, strict=True):
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            text = pc.fill_null(column.cast(pa.large_string()), "")
            columns[name.strip()] = pc.call_function("utf8_trim_whitespace", [text])
    except FileNotFoundError:
        raise InputError(f"cannot read {path}: No such file or directory") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    if len(columns) < len(table.column_names) or "" in columns:
        raise InputError(f"{path}: a column has no name, or two have the same; rename them")
    frame: Any = pa.table(columns).to_pandas()
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="row")
    return frame
