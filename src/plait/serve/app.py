"""The application: a page, what is known of the run, and answers as they come."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from plait.errors import InputError
from plait.pages import Block, Blocks, Page
from plait.serve.limits import Limits
from plait.serve.overview import overview
from plait.terminal import printable
from plait.training.notebook import pictures_of
from plait.training.run import Run

FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/charts.js": ("charts.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""The files of the page, by path; there are no others."""

LOCAL = ("127.0.0.1", "localhost", "[::1]", "::1")
"""Names of this machine, for itself alone."""


def make_app(run: Run, page: Page | None, reason: str = "", *, hosts: tuple[str, ...] = LOCAL):
    """Return the application of a run.

    The model is used by one thread: a block of one answer, then one of the next, so that many
    people are answered at once and no answer has part of another.

    Parameters
    ----------
    run : Run
    page : Page or None
        What can be tried; None: nothing.
    reason : str
        Why there is nothing.
    hosts : tuple of str
        Names that requests may ask for; others are refused, so that no page of another site can
        ask by a name that leads here.
    """
    worker = ThreadPoolExecutor(1, thread_name_prefix="model")
    pictures = [path.read_bytes() for path in pictures_of(run)]
    about = _safe({**overview(run), "reason": reason}) | {"page": page and page.described()}

    async def show(request: Request) -> Response:
        name, kind = FILES[request.url.path]
        return Response((Path(__file__).parent / name).read_bytes(), media_type=kind)

    async def known(request: Request) -> Response:
        return JSONResponse(about)

    async def picture(request: Request) -> Response:
        number = request.path_params["number"]
        if number >= len(pictures):
            return JSONResponse({"error": "there is no such picture"}, 404)
        return Response(pictures[number], media_type="image/png")

    async def answer(request: Request) -> Response:
        try:
            if page is None:
                raise InputError(reason)
            values = page.read(json.loads(await request.body()))
        except InputError as error:
            return JSONResponse({"error": printable(str(error))}, 400)
        except (ValueError, RecursionError):
            return JSONResponse({"error": "that is not JSON"}, 400)
        blocks = page.answer(**values)
        return StreamingResponse(_lines(blocks, worker), media_type="application/x-ndjson")

    routes = [
        *(Route(path, show) for path in FILES),
        Route("/run", known),
        Route("/picture/{number:int}", picture),
        Route("/answer", answer, methods=["POST"]),
    ]
    hosted = Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    return Starlette(routes=routes, middleware=[Middleware(Limits), hosted])


async def _lines(blocks: Blocks, worker: ThreadPoolExecutor) -> AsyncIterator[str]:
    """Yield each block as a line of JSON, as soon as it is there; the last line is an error's."""
    loop = asyncio.get_running_loop()
    try:
        while (block := await loop.run_in_executor(worker, _next, blocks)) is not None:
            yield json.dumps(_safe(block), allow_nan=False) + "\n"
    finally:
        worker.submit(blocks.close)


def _next(blocks: Blocks) -> Block | None:
    """Return the next block; what goes wrong is a block too."""
    try:
        with torch.no_grad():
            return next(blocks, None)
    except InputError as error:
        return {"kind": "error", "text": str(error)}
    except Exception:
        logging.getLogger(__name__).exception("an answer failed")
        return {"kind": "error", "text": "that failed; the terminal of plait serve says why"}


def _safe(value: Any) -> Any:
    """Return JSON values whose texts show control characters and turns of direction as marks."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(str(k)): _safe(v) for k, v in value.items()}
    return [_safe(v) for v in value] if isinstance(value, list | tuple) else value
