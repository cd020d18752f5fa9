"""A page that is served in a thread, and what asks it."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

import plait
from plait.training.run import Run

HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m &amp; 'it' "


@contextmanager
def served(run: Run) -> Iterator[int]:
    """Serve a run's page on a free port of this machine for a block of code."""
    from plait.serve.app import make_app
    from plait.serve.launch import bound, server_of
    from plait.serve.overview import page

    server = server_of(make_app(run, *page(run)))
    with bound("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(10)


def ask(
    port: int, path: str, values: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, str, dict[str, str]]:
    """Return status, content and headers of a path; values are sent as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    if values is None:
        connection.request("GET", path, headers=headers or {})
    else:
        body = values if isinstance(values, bytes) else json.dumps(values).encode()
        sent = {"content-type": "application/json", **(headers or {})}
        connection.request("POST", path, body, sent)
    response = connection.getresponse()
    content = response.read().decode()
    connection.close()
    return response.status, content, {k.lower(): v for k, v in response.getheaders()}


@pytest.fixture(scope="session")
def serving() -> Callable[[Run], AbstractContextManager[int]]:
    pytest.importorskip("starlette", reason="starlette is not installed")
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    return served


@pytest.fixture(scope="session")
def asked() -> Callable[..., tuple[int, str, dict[str, str]]]:
    return ask


@pytest.fixture(scope="session")
def hostile() -> str:
    """A text that would run, colour a terminal or turn a line, where it were not shown as text."""
    return HOSTILE


@pytest.fixture(scope="session")
def text_run(tmp_path_factory, hostile) -> Run:
    out = tmp_path_factory.mktemp("serve") / "text"
    return plait.train("text", data=f"{hostile}the cat sat\n" * 30, hidden_size=12, layers=1,
                       steps=3, batch_size=2, out=out)  # fmt: skip


@pytest.fixture(scope="module")
def text_port(text_run, serving) -> Iterator[int]:
    with serving(text_run) as port:
        yield port
