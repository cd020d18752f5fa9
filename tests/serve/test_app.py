"""The application: what it answers, to many at once, and what it refuses."""

import asyncio
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import plait
from plait.errors import InputError
from plait.pages import Page
from plait.training.run import Run

pytest.importorskip("starlette", reason="starlette is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
from plait.serve import launch
from plait.serve.app import FILES, make_app
from plait.serve.limits import BURST, MOST_ACTIVE, Limits

PAGE = Path(plait.__file__).parent / "serve"


def blocks_of(content: str) -> list[dict]:
    return [json.loads(line) for line in content.splitlines()]


def text_of(content: str, place: str) -> str:
    parts = [b["symbols"] for b in blocks_of(content) if b["to"] == place]
    return "".join(symbol["text"] for part in parts for symbol in part)


def test_a_hundred_parallel_requests_get_each_its_own_text(text_port, text_run, asked) -> None:
    model = plait.load(text_run)
    prompts = ["the cat", "sat", "t", "e c"]
    wanted = [{"prompt": prompts[k % 4], "seed": k, "length": 12, "beta": 1 + k / 100}
              for k in range(100)]  # fmt: skip
    with ThreadPoolExecutor(100) as people:
        found = list(people.map(lambda values: asked(text_port, "/answer", values), wanted))
    assert [status for status, _, _ in found] == [200] * 100
    for values, (_, content, _) in zip(wanted, found, strict=True):
        prompt, length = values["prompt"], values["length"]
        sampled = model.generate(prompt, length, seed=values["seed"], beta=values["beta"])
        assert text_of(content, "sampled") == plait.terminal.printable(sampled)
        greedy = model.generate(prompt, length, greedy=True)
        assert text_of(content, "greedy") == plait.terminal.printable(greedy)


def test_the_page_asks_for_nothing_elsewhere_and_runs_no_other_code(text_port, asked) -> None:
    for path, (name, kind) in FILES.items():
        status, content, headers = asked(text_port, path)
        assert (status, content) == (200, (PAGE / name).read_text("utf-8"))
        assert headers["content-type"].startswith(kind)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        others = set(re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]+", content))
        assert others <= {"http://www.w3.org"}  # the name of SVG, which nobody fetches
        assert "innerHTML" not in content
        assert not re.search(r"\son\w+=|<style|<script(?! type=.module. src)", content)


def test_data_cannot_control_the_page_or_a_terminal(text_port, asked) -> None:
    _, content, headers = asked(text_port, "/run")
    assert headers["content-type"] == "application/json"
    _, written, _ = asked(text_port, "/answer", {"prompt": "<script>", "length": 40, "beta": 0})
    for text in (content, written):
        for shown in re.findall(r'"(?:[^"\\]|\\.)*"', text):
            assert json.loads(shown) == plait.terminal.printable(json.loads(shown))
    assert text_of(written, "sampled").startswith("<script>")


@pytest.mark.parametrize(
    ("values", "headers", "status", "message"),
    [
        ({"prompt": "t" * 1001}, {}, 400, "Prompt: at most 1,000 characters"),
        ({"length": 601}, {}, 400, "Length: give a number from 1 to 600"),
        ({"length": 1.5}, {}, 400, "Length: give a whole number"),
        ({"length": True}, {}, 400, "Length: give a number from 1 to 600"),
        ({"beta": float("nan")}, {}, 400, "β: give a number from 0 to 5"),
        ({"layer": "../../etc"}, {}, 400, "Layer of the states: choose from 1"),
        ({"path": "/etc/passwd"}, {}, 400, "there is no control 'path'"),
        ([1], {}, 400, "give the controls' values by name"),
        ({"prompt": "\ud800"}, {}, 400, "Prompt: has halves of characters (unpaired surrogates)"),
        (b"{", {}, 400, "that is not JSON"),
        (b"[" * 50_000, {}, 400, "that is not JSON"),
        (b" " * 64_001, {}, 413, "send at most 64,000 bytes"),
        ({}, {"content-type": "text/plain"}, 415, "send application/json"),
        ({}, {"origin": "http://elsewhere.example"}, 403, "only this page may ask"),
    ],
)  # fmt: skip
def test_what_a_page_does_not_send_is_refused_in_a_line(
    text_port, asked, values, headers, status, message
) -> None:
    found, content, _ = asked(text_port, "/answer", values, headers)
    assert (found, json.loads(content)["error"]) == (status, message)


def test_a_prompt_with_unknown_symbols_is_an_error_in_the_answer(text_port, asked) -> None:
    status, content, _ = asked(text_port, "/answer", {"prompt": "Ω"})
    (block,) = blocks_of(content)
    assert (status, block["kind"]) == (200, "error")
    assert "'Ω'" in block["text"]


@pytest.mark.parametrize(
    "path", ["/config.json", "/../config.json", "/picture/0/../../config.json", "/picture/99",
             "/picture/-1", "/page.py", "/answer"],
)  # fmt: skip
def test_no_path_leads_to_files_of_the_machine(text_port, asked, path) -> None:
    assert asked(text_port, path)[0] in (404, 405)


def test_a_request_by_the_name_of_another_site_is_refused(text_port, asked) -> None:
    assert asked(text_port, "/run", headers={"host": "elsewhere.example"})[0] == 400
    assert asked(text_port, "/run", headers={"host": f"localhost:{text_port}"})[0] == 200


def test_an_answer_that_breaks_down_ends_in_a_message(text_run, caplog) -> None:
    from starlette.applications import Starlette

    def broken():
        yield {"kind": "note", "to": "a", "text": "first"}
        raise RuntimeError("secret")

    app = make_app(text_run, Page("", (), broken))
    assert isinstance(app, Starlette)
    status, content = asyncio.run(call(app, b"{}"))
    first, last = blocks_of(content)
    assert (status, first["text"], last["kind"]) == (200, "first", "error")
    assert "secret" not in content
    assert "secret" in caplog.text


async def call(app, body: bytes, path: str = "/answer", address: str = "127.0.0.1"):
    """Ask an application without a socket."""
    sent = []
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"),
               (b"content-length", str(len(body)).encode())]  # fmt: skip
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers,
             "query_string": b"", "client": (address, 1), "raw_path": path.encode(),
             "scheme": "http", "http_version": "1.1", "root_path": "", "server": None}  # fmt: skip
    inbox = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if inbox:
            return inbox.pop()
        await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    content = b"".join(m.get("body", b"") for m in sent[1:])
    return sent[0]["status"], content.decode()


def test_an_address_may_ask_so_often_and_then_again_a_second_later() -> None:
    now = [0.0]

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limits = Limits(app, clock=lambda: now[0])

    def statuses(count: int, address: str = "a") -> list[int]:
        return [asyncio.run(call(limits, b"{}", address=address))[0] for _ in range(count)]

    assert statuses(int(BURST)) == [200] * int(BURST)
    assert statuses(1) == [429]
    assert statuses(1, "b") == [200]
    now[0] = 0.1  # two more
    assert statuses(3) == [200, 200, 429]
    assert limits.active == 0
    limits.active = MOST_ACTIVE
    assert statuses(1, "c") == [429]


def test_an_answer_ends_when_nobody_reads_it(text_run, serving) -> None:
    ended = []

    def endless():
        try:
            while True:
                yield {"kind": "note", "to": "a", "text": "x" * 10_000}
        finally:
            ended.append(True)

    import threading

    from plait.serve.launch import bound, server_of

    server = server_of(make_app(text_run, Page("", (), endless)))
    with bound("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        reader = socket.create_connection(listening.getsockname())
        reader.sendall(b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
                       b"\r\nContent-Length: 2\r\n\r\n{}")  # fmt: skip
        assert reader.recv(100).startswith(b"HTTP/1.1 200")
        reader.close()
        for _ in range(200):
            if ended:
                break
            time.sleep(0.02)
        server.should_exit = True
        thread.join(10)
    assert ended == [True]


@pytest.mark.parametrize(
    ("task", "options", "places"),
    [
        ("memory", {"problem": "recall", "length": 4, "hidden_size": 4}, ["flow layer 0"]),
        ("links", {"data": "karate"}, ["predictions"]),
        ("structure", {}, []),
    ],
)
def test_a_task_without_a_page_shows_what_any_has(
    tmp_path, monkeypatch, task, options, places
) -> None:
    from plait.serve import overview

    monkeypatch.setattr(overview, "page_of", lambda *_: None)
    run = plait.train(task, steps=1, out=tmp_path / "run", **options)
    page, reason = overview.page(run)
    assert (page.controls, reason) == ((), "")
    app = make_app(run, page)
    found = {b["to"]: b for b in blocks_of(asyncio.run(call(app, b"{}"))[1])}
    assert {*places, "weights"} <= set(found)
    rows = {name: count for name, _, count, _ in found["weights"]["rows"]}
    assert rows == {n: p.numel() for n, p in plait.load(run).named_parameters()}


# ---- launching


def test_an_address_in_use_is_refused_in_a_line(text_run, text_port) -> None:
    message = rf"^cannot serve on 127.0.0.1:{text_port}: Address already in use; give another"
    with pytest.raises(InputError, match=message):
        launch.serve(text_run, port=text_port)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"port": 70_000}, "--port must be from 0 to 65535, not 70000"),
        ({"host": "no such machine"}, r"cannot serve on no such machine:8765: .+; give another"),
    ],
)
def test_an_address_that_cannot_be_is_refused_in_a_line(text_run, given, message) -> None:
    with pytest.raises(InputError, match=message):
        launch.serve(text_run, **given)


def test_only_another_address_than_this_machines_is_warned_of(text_run, monkeypatch) -> None:
    import uvicorn

    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    said: list[str] = []
    launch.serve(text_run, port=0, report=said.append)
    assert len(said) == 1
    assert re.match(r"http://127.0.0.1:\d+ shows .+; Ctrl-C ends it$", said[0])
    said.clear()
    launch.serve(text_run, host="0.0.0.0", port=0, report=said.append)
    assert said[0].startswith("--host 0.0.0.0: everyone who reaches this machine over the network")
    assert "without a password" in said[0]


def test_without_the_packages_one_line_says_what_to_install(text_run, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(
        InputError, match=r"^plait serve: .*; install it: pip install 'plait\[serve\]'$"
    ):
        launch.serve(text_run)


def test_a_run_whose_data_is_gone_is_shown_without_what_needs_it(tmp_path, serving, asked) -> None:
    edges = tmp_path / "edges.csv"
    edges.write_text("source,target\n" + "".join(f"a{k},a{(k * 7 + 1) % 20}\n" for k in range(20)))
    run = plait.train("links", edges=str(edges), steps=2, out=tmp_path / "run")
    edges.unlink()
    with serving(Run.open(run.path)) as port:
        about = json.loads(asked(port, "/run")[1])
    assert about["page"] is None
    assert "edges.csv" in about["reason"]
    assert about["blocks"][0]["title"] == "Scores on the test set"
