"""`plait study`: the report that the project began with, every section measured anew."""

import importlib.util
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from plait.errors import InputError
from plait.json_files import read_json
from plait.text_files import require_path
from plait.training.files import write_json
from plait.training.progress import Progress

FORMAT = 1

SECTIONS = (
    "gradients", "gates", "memory", "text", "tales", "graphs", "applications", "structure", "both",
)  # fmt: skip
"""Names of the sections, in the report's order; also the names of their modules."""


def make_study(
    sections: Iterable[str] = (),
    *,
    quick: bool = False,
    out: str | os.PathLike[str] | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Measure the report's sections anew and tell them on one page.

    The folder holds `index.html`, complete in itself; `figures/` (PNG) and `tables/` (CSV); and
    `runs/`, ordinary run folders. Runs of the same configuration are made once, so a study that
    was stopped goes on, and sections can be added to it.

    Parameters
    ----------
    sections : iterable of str
        Names or numbers, from `SECTIONS`; none: all. Those that are on the folder's page stay.
    quick : bool
        Everything at reduced size, in under ten minutes on two cores.
    out : path
        The folder. None: `study`, or `study-quick`.
    threads : int
        CPU threads; 0: torch's choice. Up to four runs are made at a time.
    progress : Progress
        Its `notice` hears what is done, and of the full study beforehand how long it will take.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        For a section that there is not, a folder that holds something else, a run that fails, and
        where Jinja2 is missing.

    Example
    -------
    >>> from plait.study import make_study
    >>> make_study(["figures"])
    Traceback (most recent call last):
    ...
    plait.errors.InputError: the study has no section 'figures'; there are 1 gradients, 2 gates, ...
    """
    asked = [_section(str(s)) for s in sections] or list(SECTIONS)
    if importlib.util.find_spec("jinja2") is None:
        raise InputError(
            "the study's page is made with Jinja2, which is missing; pip install jinja2"
        )
    folder = Path(out if out is not None else "study-quick" if quick else "study")
    told = set(_require_mine(folder, quick))
    chosen = [name for name in SECTIONS if name in told.union(asked)]
    say = (Progress() if progress is None else progress).notice

    from plait.study.telling import tell  # torch, and all that it takes

    def keep(*names: str) -> None:
        """Note which sections are on the page; the folder is this study's from now on."""
        told.update(names)
        folder.mkdir(parents=True, exist_ok=True)
        listed = [name for name in SECTIONS if name in told]
        write_json(folder / "study.json", {"format": FORMAT, "quick": quick, "sections": listed})

    return tell(chosen, folder, keep, quick=quick, threads=threads, say=say)


def _section(given: str) -> str:
    if given.isdecimal() and 1 <= int(given) <= len(SECTIONS):
        return SECTIONS[int(given) - 1]
    if given not in SECTIONS:
        known = ", ".join(f"{k} {name}" for k, name in enumerate(SECTIONS, 1))
        raise InputError(f"the study has no section {given!r}; there are {known}")
    return given


def _require_mine(folder: Path, quick: bool) -> Sequence[str]:
    """Give the sections that a folder has; refuse one that holds something else."""
    require_path(folder)
    file = folder / "study.json"
    if not file.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} exists already and is no study; give another --out")
        return ()
    there = read_json(file, "is damaged")
    try:
        newer, kind = there["format"] > FORMAT, there["quick"]
        sections = [name for name in there["sections"] if name in SECTIONS]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged: {error!r}") from None
    if newer:
        raise InputError(f"{file} is of a newer Plait; give another --out, or upgrade")
    if kind != quick:
        is_, mend = ("a quick", "add --quick") if kind else ("the full", "leave --quick out")
        raise InputError(f"{folder} holds {is_} study; {mend}, or give another --out")
    return sections
