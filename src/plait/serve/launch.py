"""Bind to a port of this machine and serve a run's page until Ctrl-C."""

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plait.errors import InputError
from plait.training.run import Run

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    run: str | os.PathLike[str] | Run,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    report: Callable[[str], None] = print,
) -> None:
    """Serve the page of a trained run until Ctrl-C.

    Parameters
    ----------
    run : path or Run
    host : str
        The address to bind to. Any but this machine's own lets others in, without a password.
    port : int
        0: any that is free.
    report : function
        Receives the address, and a warning where others can come in.

    Raises
    ------
    InputError
        For a folder that is not a run, an address that cannot be bound to, and where the packages
        of the extra `serve` are not installed.
    """
    try:
        import uvicorn  # noqa: F401

        from plait.serve.app import LOCAL, make_app
    except ImportError as error:
        raise InputError(f"plait serve: {error}; install it: pip install 'plait[serve]'") from None
    from plait.serve.overview import page

    opened = run if isinstance(run, Run) else Run.open(Path(run))
    with bound(host, port) as listening:
        own = host in LOOPBACK
        app = make_app(opened, *page(opened), hosts=LOCAL if own else ("*",))
        address = f"[{host}]" if ":" in host else host
        if not own:
            report(
                f"--host {host}: everyone who reaches this machine over the network can use the "
                "page, without a password; leave --host out to keep it to this machine"
            )
        report(f"http://{address}:{listening.getsockname()[1]} shows {opened.path}; Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            server_of(app).run(sockets=[listening])


def server_of(app: Any) -> Any:
    """Return a server of an application, with small limits on what it reads."""
    import uvicorn

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none",
        timeout_graceful_shutdown=1, h11_max_incomplete_event_size=32_000, limit_concurrency=1000,
    )  # fmt: skip
    return uvicorn.Server(config)


@contextlib.contextmanager
def bound(host: str, port: int):
    """Return a socket that is bound to an address; `InputError` where that cannot be."""
    if not 0 <= port < 65536:
        raise InputError(f"--port must be from 0 to 65535, not {port}")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(found[4][:2], family=found[0], backlog=512)
    except (OSError, UnicodeError) as error:
        why = "that is no name of a machine"
        if isinstance(error, OSError) and not isinstance(error, socket.gaierror):
            why = os.strerror(error.errno or 0)
        raise InputError(
            f"cannot serve on {host}:{port}: {why}; give another --port or --host"
        ) from None
    with listening:
        yield listening
