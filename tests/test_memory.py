"""The machine's memory, and what is more than it."""

from pathlib import Path

import pytest

from plait import memory
from plait.errors import InputError
from plait.memory import machine_memory, require_memory


def test_the_smallest_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = machine_memory()
    assert whole is not None
    assert whole > 2**28
    limit, none, absent = tmp_path / "limit", tmp_path / "none", tmp_path / "absent"
    limit.write_text("123456789\n")
    none.write_text("max\n")
    monkeypatch.setattr(memory, "CGROUP", (none, absent))
    without = machine_memory()
    assert without is not None
    assert without >= whole
    monkeypatch.setattr(memory, "CGROUP", (absent, limit))
    assert machine_memory() == 123456789


def test_what_fits_is_let_through_and_what_does_not_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 8_000_000_000)
    require_memory(8_000_000_000, "this", "do that")
    message = r"^this needs about 8.1 GB of memory, and there are 8.0 GB here; do that$"
    with pytest.raises(InputError, match=message):
        require_memory(8_100_000_000, "this", "do that")
    monkeypatch.setattr(memory, "machine_memory", lambda: None)
    require_memory(1e30, "this", "do that")  # where the system says nothing, nothing is refused
