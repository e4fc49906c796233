"""Answers in JSON, errors among them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import (
    Asleep,
    Busy,
    DeviceRefused,
    GatewayError,
    InvalidValue,
    NotAllowed,
    NotFound,
    TimedOut,
    Unreachable,
    WritesDisabled,
)

_STATUS: Mapping[type[GatewayError], int] = {
    NotFound: 404,
    NotAllowed: 403,
    WritesDisabled: 403,
    InvalidValue: 400,
    Busy: 503,
    Asleep: 503,
    Unreachable: 504,
    TimedOut: 504,
    DeviceRefused: 502,
}


def encode(content: object) -> bytes:
    """`content` as compact JSON."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def reply(content: object, status: int = 200) -> web.Response:
    """`content` as an answer in JSON."""
    return web.Response(body=encode(content), status=status, content_type="application/json")


@web.middleware
async def errors_in_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What the HTTP library refuses (no such page, wrong method, too long), told as our own."""
    try:
        return await handler(request)
    except web.HTTPError as error:
        text = (error.text or error.reason).removeprefix(f"{error.status}: ")
        response = reply({"error": text}, error.status)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response


def refusal(error: GatewayError) -> web.Response:
    """Why something was not done: `{"error": text}` with the status that fits."""
    return reply({"error": str(error)}, _STATUS.get(type(error), 500))
