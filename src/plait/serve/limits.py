"""What a page's server takes: small requests, of this page alone, and not too many of them."""

import time
from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse

MOST_ACTIVE = 200
"""Answers that are under way at once."""

BURST, PER_SECOND = 200.0, 20.0
"""Answers that one address may ask for at once, and then every second."""

MOST_BYTES = 64_000
"""Bytes of a request."""

POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'",
        "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    )
)  # fmt: skip
"""The content security policy: nothing from elsewhere, and no code but the page's own files."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Limits:
    """Refuse requests that are too large, too many, or of another page; add the headers.

    Parameters
    ----------
    app : ASGI application
    clock : function
        Returns seconds.
    """

    def __init__(self, app: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self.clock = app, clock
        self.active = 0
        self.left: dict[str, tuple[float, float]] = {}  # by address: requests left, and when

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        if scope["method"] != "POST":
            await self.app(scope, receive, sent)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            status, text = refusal
            await JSONResponse({"error": text}, status)(scope, receive, sent)
            return
        self.active += 1
        try:
            await self.app(scope, receive, sent)
        finally:
            self.active -= 1

    def _refusal(self, scope: Any) -> tuple[int, str] | None:
        """Return status and reason where a request is refused."""
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        if headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return 415, "send application/json"
        origin = headers.get("origin")
        if origin is not None and origin.split("://")[-1] != headers.get("host"):
            return 403, "only this page may ask"
        length = headers.get("content-length", "")
        if not length.isdigit() or int(length) > MOST_BYTES:
            return 413, f"send at most {MOST_BYTES:,} bytes"
        if self.active >= MOST_ACTIVE or not self._take(str((scope.get("client") or [""])[0])):
            return 429, "too many requests; wait a moment"
        return None

    def _take(self, address: str) -> bool:
        """Return whether an address may ask once more now."""
        now = self.clock()
        if len(self.left) > 10_000:
            full = BURST / PER_SECOND
            self.left = {a: (n, t) for a, (n, t) in self.left.items() if now - t < full}
        left, when = self.left.get(address, (BURST, now))
        left = min(BURST, left + PER_SECOND * (now - when))
        self.left[address] = (left - (left >= 1), now)
        return left >= 1
