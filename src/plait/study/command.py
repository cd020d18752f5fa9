"""`plait study`: the report that the project began with, every section measured anew."""

import importlib.util
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from plait.errors import InputError
from plait.json_files import read_json
from plait.study.sections import FORMER_NAMES, SECTIONS
from plait.text_files import require_path
from plait.training.files import write_json
from plait.training.progress import Progress

FORMAT = 1


def make_study(
    sections: Iterable[str] = (),
    *,
    quick: bool = False,
    out: str | os.PathLike[str] | None = None,
    threads: int = 0,
    ray: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Measure the report's sections anew and show them on one page.

    The folder holds `index.html`, self-contained, and `standalone.html`, the same without links to
    other files; `figures/` (PNG) and `tables/` (CSV); and `runs/`, ordinary run folders. Each
    configuration is trained once, so an interrupted study continues where it stopped, and sections
    can be added to it.

    Parameters
    ----------
    sections : iterable of str
        Names or numbers, from `SECTIONS`; none: all. Sections already on the folder's page stay.
    quick : bool
        Everything at reduced size, in under ten minutes on two cores.
    out : path
        The folder. None: `study`, or `study-quick`.
    threads : int
        CPU threads; 0: torch's choice. Up to four runs train at the same time.
    ray : str
        The address of a Ray cluster to train the runs on, as of `plait.compare`. A run takes as
        many CPUs as `threads` says, one where it is 0.
    progress : Progress
        Its `notice` receives what is done and, for the full study, first how long it will take.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        For an unknown section, a folder that holds something else, a run that fails, where Jinja2
        is missing, and where there is no cluster at the address.

    Example
    -------
    >>> from plait.study import make_study
    >>> make_study(["figures"])
    Traceback (most recent call last):
    ...
    plait.errors.InputError: the study has no section 'figures'; there are 1 gradients, 2 gates, ...
    """
    requested = [_section(str(s)) for s in sections] or list(SECTIONS)
    if importlib.util.find_spec("jinja2") is None:
        raise InputError(
            "the study's page is made with Jinja2, which is missing; pip install jinja2"
        )
    if ray is not None:
        from plait.comparison.cluster import require_cluster

        require_cluster(ray)
    folder = Path(out if out is not None else "study-quick" if quick else "study")
    on_page = set(_sections_of(folder, quick))
    chosen = [name for name in SECTIONS if name in on_page.union(requested)]
    notice = (Progress() if progress is None else progress).notice

    from plait.study.build import build_page  # torch, and everything that needs it

    def record(*names: str) -> None:
        """Record which sections are on the page; from now on the folder is this study's."""
        on_page.update(names)
        folder.mkdir(parents=True, exist_ok=True)
        listed = [name for name in SECTIONS if name in on_page]
        write_json(folder / "study.json", {"format": FORMAT, "quick": quick, "sections": listed})

    return build_page(chosen, folder, record, quick=quick, threads=threads, notice=notice, ray=ray)


def _section(given: str) -> str:
    """Return a section's name, from its number or its name, with - or _, today's or the former.

    >>> from plait.study.command import _section
    >>> _section("5"), _section("fairy-tales"), _section("tales")
    ('fairy_tales', 'fairy_tales', 'fairy_tales')
    """
    if given.isdecimal() and 1 <= int(given) <= len(SECTIONS):
        return SECTIONS[int(given) - 1]
    name = FORMER_NAMES.get(given, given.replace("-", "_"))
    if name not in SECTIONS:
        known = ", ".join(f"{k} {name}" for k, name in enumerate(SECTIONS, 1))
        raise InputError(f"the study has no section {given!r}; there are {known}")
    return name


def _sections_of(folder: Path, quick: bool) -> Sequence[str]:
    """Return the sections on a folder's page; raise `InputError` if it holds something else."""
    require_path(folder)
    file = folder / "study.json"
    if not file.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} exists already and is no study; give another --out")
        return ()
    there = read_json(file, "is damaged")
    try:
        newer, is_quick = there["format"] > FORMAT, there["quick"]
        names = [FORMER_NAMES.get(name, name) for name in there["sections"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged: {error!r}") from None
    if newer:
        raise InputError(f"{file} is of a newer Plait; give another --out, or upgrade")
    if is_quick != quick:
        kind, fix = ("a quick", "add --quick") if is_quick else ("the full", "leave --quick out")
        raise InputError(f"{folder} holds {kind} study; {fix}, or give another --out")
    return [name for name in names if name in SECTIONS]
