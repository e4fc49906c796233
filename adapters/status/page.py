"""The page itself: files that come with the program, and need nothing from elsewhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).with_name("files")

KINDS = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class Page:
    """The paths of the page's files, read once."""

    def __init__(self) -> None:
        self._files = {
            "/" if file.name == "index.html" else f"/{file.name}": (file.read_bytes(), file.suffix)
            for file in sorted(FOLDER.iterdir())
            if file.suffix in KINDS
        }
        content = b"".join(body for body, _ in self._files.values())
        self._etag = hashlib.sha256(content).hexdigest()[:16]

    def routes(self) -> list[web.RouteDef]:
        """What is served where."""
        return [web.get(path, self.file) for path in self._files]

    async def file(self, request: web.Request) -> web.Response:
        """One file, or 304 where the browser has it already."""
        body, suffix = self._files[request.path]
        if any(tag.value == self._etag for tag in request.if_none_match or ()):
            response = web.Response(status=304)
        else:
            response = web.Response(body=body, content_type=KINDS[suffix], charset="utf-8")
        response.etag = self._etag
        response.headers["Cache-Control"] = "no-cache"
        return response
