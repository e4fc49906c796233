"""The page itself: four files that come with the program, and need nothing from elsewhere."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from aiohttp import web

FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/plot.js": ("plot.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class Page:
    """The paths of the page's files, read once."""

    def __init__(self) -> None:
        folder = files(__package__).joinpath("files")
        self._files = {
            path: (folder.joinpath(name).read_bytes(), kind) for path, (name, kind) in FILES.items()
        }
        content = b"".join(body for body, _ in self._files.values())
        self._etag = hashlib.sha256(content).hexdigest()[:16]

    def routes(self) -> list[web.RouteDef]:
        """What is served where."""
        return [web.get(path, self.file) for path in self._files]

    async def file(self, request: web.Request) -> web.Response:
        """One file, or 304 where the browser has it already."""
        body, kind = self._files[request.path]
        known = any(tag.value == self._etag for tag in request.if_none_match or ())
        response = (
            web.Response(status=304)
            if known
            else web.Response(body=body, content_type=kind, charset="utf-8")
        )
        response.etag = self._etag
        response.headers["Cache-Control"] = "no-cache"
        return response
