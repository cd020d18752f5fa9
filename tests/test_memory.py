"""The memory that is free, and what needs more than it."""

from pathlib import Path

import pytest

from plait import memory
from plait.errors import InputError
from plait.memory import free_memory, require_memory


@pytest.mark.parametrize(("limit", "use", "statistics", "inactive"), memory.GROUP_FILES)
def test_the_smallest_limit_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit, use, statistics, inactive
) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    whole = free_memory()
    assert whole is not None
    assert whole > 2**27
    contents = {limit: "max", use: "100000000", statistics: f"anon 7\n{inactive} 2000000\n"}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    without = free_memory()
    assert without is not None
    assert without > 2**27
    (tmp_path / limit).write_text("123000000\n")
    assert free_memory() == 25_000_000  # files read before are dropped where memory is wanted
    (tmp_path / limit).write_text("90000000\n")
    assert free_memory() == 0


def test_a_limit_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (used + 2**26, used + 2**27))
    free = free_memory()
    assert free is not None
    assert 0 <= free <= 2**26


def test_what_fits_is_let_through_and_what_does_not_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 8_000_000_000)
    require_memory(8_000_000_000, "this", "do that")
    message = r"^this needs about 8.1 GB of memory, and 8.0 GB are free; do that$"
    with pytest.raises(InputError, match=message):
        require_memory(8_100_000_000, "this", "do that")
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    require_memory(1e30, "this", "do that")  # where the system says nothing, nothing is refused
    monkeypatch.setattr(memory, "free_memory", lambda: 0)
    require_memory(1e7, "this", "do that")  # so little is not asked for
