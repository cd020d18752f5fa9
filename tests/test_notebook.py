"""The notebook of the docs: it runs as it stands, and what it shows was put out by it."""

from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

NOTEBOOK = Path(__file__).parents[1] / "docs" / "howto" / "notebook.ipynb"


def kinds(cell: Any) -> list[set[str]]:
    """Return what each output of a cell is: text, HTML, a picture."""
    return [set(output.get("data", {"text/plain": ""})) for output in cell.outputs]


def test_every_cell_that_is_shown_was_run_in_order() -> None:
    cells = [c for c in nbformat.read(NOTEBOOK, 4).cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    assert not any("error" in (o.output_type, o.get("name")) for c in cells for o in c.outputs)
    assert "/home" not in NOTEBOOK.read_text("utf-8")
    assert NOTEBOOK.stat().st_size < 250_000


@pytest.mark.slow
def test_the_notebook_runs_and_puts_out_what_it_shows(tmp_path: Path) -> None:
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, 4)
    shown = [kinds(cell) for cell in notebook.cells if cell.cell_type == "code"]
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    assert [kinds(cell) for cell in notebook.cells if cell.cell_type == "code"] == shown
    assert (tmp_path / "runs" / "text-python-docs" / "model.safetensors").is_file()
