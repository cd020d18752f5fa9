"""The page in headless Chromium, by clicking."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import plait
from plait.training.run import Run

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
MISSING = "chromium is not installed" if BROWSER is None else ""
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

SIZES = {"desk": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, port: int, size: str = "desk", scheme: str = "light") -> Iterator[Any]:
    """Open the page; at the end nothing was asked of another machine, and no error was logged."""
    width, height = SIZES[size]
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=size == "phone"
    )
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type in ("error", "warning") else None)
    page.on("dialog", lambda dialog: errors.append("a dialog opened"))
    page.goto(f"http://127.0.0.1:{port}/")
    page.wait_for_selector("#controls button[type=submit]", state="attached")
    done(page)
    yield page
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    page.close()
    own = f"http://127.0.0.1:{port}/"
    assert [url for url in asked if not url.startswith(own)] == []
    assert errors == []
    assert wide <= 0  # nothing is wider than the screen


def done(page: Any) -> None:
    """Wait until an answer is whole."""
    page.wait_for_selector("#controls button.quiet:disabled", state="attached", timeout=60_000)
    assert page.text_content("#status") == ""


def set_range(page: Any, name: str, value: float) -> None:
    page.evaluate(
        "([id, value]) => { const field = document.getElementById(id); field.value = value;"
        " field.dispatchEvent(new Event('input')); }",
        [f"control-{name}", value],
    )


def show(page: Any) -> None:
    page.click("#controls button[type=submit]")
    done(page)


def test_a_text_streams_in_with_what_else_could_have_come(
    browser, text_port, text_run, hostile
) -> None:
    model = plait.load(text_run)
    with opened(browser, text_port) as page:
        page.fill("#control-prompt", "<script>")
        set_range(page, "length", 20)
        set_range(page, "seed", 3)
        show(page)
        shown = [page.inner_text(f"[data-to={place}] .written") for place in ("sampled", "greedy")]
        wanted = [model.generate("<script>", 20, **how) for how in ({"seed": 3}, {"greedy": True})]
        assert shown == [plait.terminal.printable(text) for text in wanted]
        assert page.locator("[data-to=sampled] .written .given").count() == len("<script>")
        page.hover("[data-to=greedy] .written span:last-child")
        rows = page.locator("#tip tr td:nth-child(2)").all_inner_texts()
        assert len(rows) == 6
        page.click("[data-to=sampled] canvas", position={"x": 2, "y": 4 * 4 + 1})
        assert page.input_value("[data-to=sampled] .strip select") == "4"
        page.fill("#control-prompt", "Ω")
        page.click("#controls button[type=submit]")
        page.wait_for_selector("#status.problem")
        assert "'Ω'" in page.inner_text("#status")
        page.fill("#control-prompt", "the ")
        show(page)


TASKS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "memory": ({"problem": "recall", "length": 6}, ["recall", "The gradient’s flow"]),
    "nodes": ({"data": "karate"}, ["surroundings", "Labels of", "Neighbours that count"]),
    "links": ({"data": "karate"}, ["dashed: suggested", "Suggested for"]),
    "forecast": ({"data": "waves", "coverage": 0.9, "batch_size": 4}, ["0", "The graph, on a map"]),
    "visits": ({"data": "generated", "patients": 40}, ["not medical advice", "likeliest drugs"]),
    "communities": ({"data": "karate"}, ["grouped by the embedding", "community 2"]),
    "digits": ({"hidden_size": 4, "batch_size": 2}, ["Weights"]),
    "scenes": ({"data": "generated", "scenes": 40}, ["The likeliest relations", "in the data"]),
    "structure": ({}, ["joined by an edge", "the model says"]),
    "text": ({"data": "python-docs", "hidden_size": 16, "layers": 1}, ["Sampled", "Greedy"]),
}


@pytest.fixture(scope="module")
def run_of(tmp_path_factory) -> Callable[[str], Run]:
    folder = tmp_path_factory.mktemp("tasks")

    @cache
    def train(task: str) -> Run:
        return plait.train(task, steps=3, out=folder / task, **TASKS[task][0])

    return train


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_task_has_a_page(browser, run_of, serving, task, size, scheme) -> None:
    with serving(run_of(task)) as port, opened(browser, port, size, scheme) as page:
        shown = page.inner_text("#answer").replace("'", "’")
        for text in TASKS[task][1]:
            assert text in shown
        if task in ("nodes", "links"):
            page.fill("#control-node", "33")
            show(page)
            assert "33" in page.inner_text("#answer h3")
            page.hover("circle.node.marked")
            assert "33" in page.inner_text("#tip")
        if task == "forecast":
            page.select_option("#control-nodes", ["3", "5", "7"])
            page.select_option("#control-baseline", "last value")
            show(page)
            assert page.locator("polygon.band").count() == 3
            assert "last value" in page.inner_text("[data-to='node 3'] .legend")
            set_range(page, "place", int(page.get_attribute("#control-place", "max")))
            assert page.inner_text("label:has(#control-place) output") == "after the last value"
            show(page)
            assert "true values" not in page.inner_text("[data-to='node 3'] .legend")
        if task == "scenes":
            assert page.locator("rect.box").count() > 2
        if task == "communities":
            page.select_option("#control-by", "Louvain's method")
            show(page)
            assert "grouped by Louvain" in page.inner_text("#answer h3")
        assert page.locator("#overview .block svg").count() >= 1
        assert "Scores on the test set" in page.inner_text("#overview")
        for picture in page.locator("figure img").all():
            picture.scroll_into_view_if_needed()
            assert picture.evaluate("i => i.decode().then(() => i.naturalWidth)") > 0


@pytest.mark.slow
def test_names_of_nodes_are_shown_as_text(browser, serving, tmp_path: Path, hostile) -> None:
    names = [f"{hostile}{k}" for k in range(12)]
    edges = tmp_path / "edges.csv"
    quoted = [f'"{a}","{b}"' for a, b in zip(names, names[1:] + names[:1], strict=True)]
    edges.write_text("\n".join(["source,target", *quoted]), encoding="utf-8")
    run = plait.train("links", edges=str(edges), steps=2, out=tmp_path / "run")
    with serving(run) as port, opened(browser, port) as page:
        assert plait.terminal.printable(names[0]) in page.inner_text("#answer h3")
        assert page.locator("#answer script").count() == 0
