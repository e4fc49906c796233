"""Block-wise transfers (RFC 7959): cutting bodies, putting them together, in bounds; pure."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace

from adapters.coap.messages import Block, Code, Refusal, Request, Response

LARGEST_EXPONENT = 6
"""Blocks of 1024 octets: the largest that RFC 7959 knows, and fits an Ethernet frame."""

LARGEST_BODY = 64 * 1024
"""Octets of a body that a client may send: far above any object instance."""

BLOCK_OCTETS = 4
"""The longest Block2 option."""

UPLOADS = 32
"""Bodies held for clients that send block by block; the oldest gives way. 2 MB."""

DOWNLOADS = 1_024
"""Clients that fetch block by block, whose body is remembered; the oldest gives way. 1 MB."""

KEPT_OCTETS = 16 * 1024 * 1024
"""Of bodies that are being fetched; a list of thousands of devices has one or two million."""


class Kept:
    """Answers by key, at most so many, of so many octets together; the last one stays anyway."""

    def __init__(self, limit: int, limit_octets: int) -> None:
        self._limit = limit
        self._limit_octets = limit_octets
        self._octets = 0
        self._answers: OrderedDict[Hashable, Response] = OrderedDict()

    def get(self, key: Hashable) -> Response | None:
        """What was kept under a key, if it is still there."""
        return self._answers.get(key)

    def put(self, key: Hashable, answer: Response) -> None:
        """Keeps an answer; the oldest give way."""
        former = self._answers.pop(key, None)
        self._answers[key] = answer
        self._octets += len(answer.payload) - (len(former.payload) if former else 0)
        while len(self._answers) > 1 and (
            self._octets > self._limit_octets or len(self._answers) > self._limit
        ):
            self._octets -= len(self._answers.popitem(last=False)[1].payload)

    def clear(self) -> None:
        """Forgets everything."""
        self._answers.clear()
        self._octets = 0


class Downloads:
    """Cuts answers into blocks and keeps bodies, so that one transfer shows one version."""

    def __init__(self) -> None:
        self._bodies = Kept(DOWNLOADS, KEPT_OCTETS)
        self._etags: OrderedDict[bytes, bytes] = OrderedDict()

    def resume(self, request: Request) -> Response | None:
        """The answer that this request's transfer began with, if it asks for a later block."""
        etag = self._etags.get(request.transfer) if request.later_block else None
        return self._bodies.get(etag)

    def cut(self, request: Request, whole: Response) -> Response:
        """The part of `whole` that the request asks for, or that fits one datagram."""
        wanted = request.block2 or Block(0, more=False, exponent=LARGEST_EXPONENT)
        if whole.code != Code.CONTENT or (request.block2 is None and _fits(whole, wanted)):
            return whole
        start = wanted.number * wanted.size
        if start >= len(whole.payload) and wanted.number:
            raise Refusal(Code.BAD_REQUEST, "there is no such block")
        more = start + wanted.size < len(whole.payload)
        if wanted.number == 0 and more:
            self._keep(request.transfer, whole)
        return replace(
            whole,
            payload=whole.payload[start : start + wanted.size],
            block2=replace(wanted, more=more),
            size2=len(whole.payload) if request.wants_size else None,
        )

    def join(self, request: Request, etag: bytes) -> None:
        """Lets a client go on with the body of this ETag, whose first block was cut for another."""
        self._remember(request.transfer, etag)

    def _keep(self, transfer: bytes, whole: Response) -> None:
        same = self._bodies.get(whole.etag)  # one body in memory for all who fetch it
        self._bodies.put(whole.etag, same or whole)
        self._remember(transfer, whole.etag)

    def _remember(self, transfer: bytes, etag: bytes) -> None:
        self._etags[transfer] = etag
        self._etags.move_to_end(transfer)
        if len(self._etags) > DOWNLOADS:
            self._etags.popitem(last=False)


def _fits(whole: Response, block: Block) -> bool:
    return len(whole.payload) <= block.size


def narrowed(request: Request, room: float) -> Request | None:
    """The request with blocks of at most `room` octets, less what Block2 itself needs, if any."""
    wanted = request.block2 or Block(0, more=False, exponent=LARGEST_EXPONENT)
    exponent = math.floor(math.log2(max(room - BLOCK_OCTETS, 1) / 16))
    if not 0 <= exponent <= wanted.exponent:
        return None
    number = wanted.number << wanted.exponent - exponent
    return replace(request, block2=Block(number, more=False, exponent=exponent))


def tagged(whole: Response) -> Response:
    """An answer with the ETag of what it shows: another body or format has another one."""
    if whole.code != Code.CONTENT or whole.format is None or whole.etag:
        return whole
    digest = hashlib.blake2b(whole.payload, digest_size=6).digest()
    return replace(whole, etag=digest + whole.format.to_bytes(2, "big"))


def tagged_format(etag: bytes) -> int:
    """The format of the answer that had this ETag, if `tagged` made it."""
    return int.from_bytes(etag[6:], "big")


def too_large() -> Refusal:
    """The refusal of a body, with what would be taken (RFC 7959 2.9.3)."""
    text = f"at most {LARGEST_BODY} octets"
    return Refusal(Code.REQUEST_ENTITY_TOO_LARGE, text, size1=LARGEST_BODY)


class Uploads:
    """Puts together the bodies that clients send in blocks."""

    def __init__(self) -> None:
        self._bodies: OrderedDict[bytes, bytearray] = OrderedDict()

    def add(self, request: Request) -> Request | None:
        """The request with its whole body; None while more blocks are to come."""
        block = request.block1
        if block is None:
            return request
        if block.more and len(request.payload) != block.size:
            raise Refusal(Code.BAD_REQUEST, "a block must fill its size")
        if (request.size1 or 0) > LARGEST_BODY:
            raise too_large()
        if block.number == 0:
            self._bodies[request.transfer] = bytearray()
            if len(self._bodies) > UPLOADS:
                self._bodies.popitem(last=False)
        body = self._bodies.get(request.transfer)
        if body is None or len(body) != block.number * block.size:
            raise Refusal(Code.REQUEST_ENTITY_INCOMPLETE, "the blocks before this one are missing")
        body += request.payload
        if len(body) > LARGEST_BODY:
            del self._bodies[request.transfer]
            raise too_large()
        if block.more:
            return None
        del self._bodies[request.transfer]
        return replace(request, payload=bytes(body))
