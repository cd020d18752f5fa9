"""The command that shows a trained run in a browser: `serve`."""

from pathlib import Path

from plait.cli.entry import app
from plait.cli.flags import Threads, Whole
from plait.terminal import show


@app.command
def serve(run: Path, *, host: str = "127.0.0.1", port: Whole = 8765, threads: Threads = 0) -> None:
    """Show a trained run on a page in the browser, to try it.

    Example: plait serve runs/text-presidents

    Parameters
    ----------
    run : Path
        The run folder.
    host : str
        The address to bind to. The default is for this machine alone; 0.0.0.0 lets everyone in
        who can reach it.
    port : Whole
        The port; 0: any that is free.
    """
    from plait.api import set_threads
    from plait.serve import serve as serve_run

    set_threads(threads)
    serve_run(run, host=host, port=port, report=show)
