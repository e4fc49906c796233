"""OSCORE (RFC 8613): a client that knows a key may write from any machine.

The keys lie in files as aiocoap has them: in one folder, one folder for each client. They are used
here without aiocoap's wrapper of sites, which would want a library for EDHOC as well.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiocoap import Message, error, oscore
from filelock import Timeout

from adapters.coap.datagram import Datagram, encode
from adapters.coap.messages import Code, Option, Refusal
from adapters.coap.secured import Recovery, Unprotected, options_of
from gateway.errors import AdapterError, reason

log = logging.getLogger(__name__)

NEEDED = frozenset({"sender-id", "recipient-id", "secret"})
"""What a context must say, as text or as hexadecimal digits."""

_FORMS: Mapping[str, Callable[[str], bytes]] = {
    "hex": bytes.fromhex,
    "ascii": lambda text: text.encode("ascii"),
}
"""How octets are written, by the end of their key."""


class FaultyContext(AdapterError):
    """A folder that holds no context; the text names it, and the remedy."""


class _Context(oscore.FilesystemSecurityContext):  # type: ignore[misc]
    """aiocoap's, which may also be given up before it has read all of its files."""

    def __del__(self) -> None:
        if hasattr(self, "sequence_number_persisted"):
            super().__del__()


class Contexts:
    """The security contexts of all clients; AdapterError names the folder that cannot be used.

    A client whose own folder is faulty is told and left out.
    """

    def __init__(self, folder: Path) -> None:
        self._contexts: dict[str, _Context] = {}
        try:
            for each in _folders(folder):
                try:
                    self._contexts[each.name] = _load(each)
                except FaultyContext as fault:
                    log.error("%s is left out: %s", each.name, fault)
        except OSError as problem:
            self.close()
            raise AdapterError(_missing(folder, problem)) from None
        except AdapterError:
            self.close()
            raise

    def close(self) -> None:
        """Notes on disk what was said, so that nothing can be said twice after a restart."""
        for client, context in self._contexts.items():
            try:
                context._destroy()
            except OSError as problem:  # then the client is challenged once more
                log.warning("the counters of %s cannot be saved: %s", client, problem.strerror)
        self._contexts.clear()

    def take(self, datagram: Datagram) -> Unprotected:
        """As Keys has it."""
        try:
            message = _protected_part(datagram)
            identity = oscore.verify_start(message)
            client, context = self._find(identity)
            inner, identifiers = context.unprotect(message)
        except oscore.ReplayErrorWithEcho as problem:
            raise Recovery(problem.to_message()) from None
        except oscore.ReplayError:
            raise Refusal(Code.UNAUTHORIZED, "replay detected") from None
        except (oscore.NotAProtectedMessage, oscore.DecodeError, IndexError):  # too short a value
            raise Refusal(Code.BAD_OPTION, "failed to decode COSE") from None
        except (oscore.ProtectionInvalid, error.Error, ValueError):
            raise Refusal(Code.BAD_REQUEST, "decryption failed") from None
        except OSError as problem:
            context.replay_window_persisted = True  # still, on disk: the next request tries again
            text = f"counters cannot be saved: {problem.strerror}"
            raise Refusal(Code.INTERNAL_SERVER_ERROR, text) from None

        def protect(answer: Message) -> Message:
            return context.protect(answer, identifiers)[0]

        return Unprotected(client, int(inner.code), options_of(inner), inner.payload, protect)

    def _find(self, identity: object) -> tuple[str, _Context]:
        for client, context in self._contexts.items():
            if context.get_oscore_context_for(identity):
                return client, context
        raise Refusal(Code.UNAUTHORIZED, "security context not found")


def _protected_part(datagram: Datagram) -> Message:
    """What aiocoap is to know of a request: it remembers every option number it ever saw."""
    options = tuple(option for option in datagram.options if option[0] == Option.OSCORE)
    if len(options) > 1:
        raise Refusal(Code.BAD_OPTION, "one OSCORE option is enough")
    return Message.decode(encode(replace(datagram, options=options)))


def faults(folder: Path) -> Iterator[str]:
    """A sentence for each client's folder that is faulty, or for all of them, without using any."""
    try:
        folders = _folders(folder)
    except OSError as problem:
        yield _missing(folder, problem)
        return
    for each in folders:
        try:
            _check(each)
        except FaultyContext as fault:
            yield str(fault)


def _folders(folder: Path) -> Sequence[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _load(folder: Path) -> _Context:
    _check(folder)
    try:
        return _Context(str(folder))
    except Timeout:
        raise AdapterError(
            f"{folder} is in use by another program: fuser {folder}/lock tells it"
        ) from None
    except OSError as problem:
        raise FaultyContext(_barred(folder, problem)) from None
    except (LookupError, ValueError, TypeError, AttributeError):  # garbled counters
        raise FaultyContext(
            f"{folder} holds no OSCORE context that can be used: give the client a new one"
        ) from None


def _check(folder: Path) -> None:
    """FaultyContext where a file does not say what it must; aiocoap would trip over its feet."""
    octets: dict[str, bytes] = {}
    for file in (folder / "settings.json", folder / "secret.json"):
        try:
            for key, value in _entries(file):
                name, _, form = key.rpartition("_")
                if form in _FORMS:
                    octets[name] = _octets(key, value, form)
        except (ValueError, TypeError, RecursionError) as problem:
            raise FaultyContext(
                f"{file} is faulty: {reason(problem)}; docs/coap.md shows what is to stand there"
            ) from None
        except OSError as problem:
            raise FaultyContext(_barred(file, problem)) from None
    if missing := NEEDED - octets.keys():
        raise FaultyContext(
            f"{folder} holds no OSCORE context: no {', '.join(sorted(missing))}; write them into "
            "its settings.json as docs/coap.md shows, or take the folder away"
        )


def _entries(file: Path) -> Iterable[tuple[str, Any]]:
    if not file.exists():
        return ()
    content = json.loads(file.read_text("utf-8"))
    if not isinstance(content, dict):
        raise TypeError("it holds no JSON object")
    return content.items()


def _octets(key: str, value: Any, form: str) -> bytes:
    try:
        return _FORMS[form](value)
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f"{key} is no text in {form}") from None


def _missing(folder: Path, problem: OSError) -> str:
    remedy = f"make it (install -d -o border-gateway -m 700 {folder}), or change [coap] oscore"
    return f"cannot use {folder}: {reason(problem)}; {remedy}"


def _barred(path: Path, problem: OSError) -> str:
    remedy = f"it must be the daemon's: chown -R border-gateway {path}"
    return f"cannot use {path}: {reason(problem)}; {remedy}"
