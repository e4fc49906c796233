"""OSCORE (RFC 8613): a client that knows a key may write from any machine.

The keys lie in files as aiocoap has them: in one folder, one folder for each client. They are used
here without aiocoap's wrapper of sites, which would want a library for EDHOC as well.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

from aiocoap import Message, error, oscore
from filelock import Timeout

from adapters.coap.datagram import Datagram, encode
from adapters.coap.messages import Code, Option, Refusal
from adapters.coap.secured import Recovery, Unprotected, options_of
from gateway.errors import AdapterError

log = logging.getLogger(__name__)

NEEDED = frozenset({"sender-id", "recipient-id", "secret"})
"""What a context must say, as text or as hexadecimal digits."""


class Contexts:
    """The security contexts of all clients; AdapterError names the folder that cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._contexts: dict[str, oscore.FilesystemSecurityContext] = {}
        try:
            for each in sorted(path for path in folder.iterdir() if path.is_dir()):
                self._contexts[each.name] = _load(each)
        except OSError as problem:
            self.close()
            raise AdapterError(f"cannot use {folder}: {problem.strerror}") from None
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

    def _find(self, identity: object) -> tuple[str, oscore.FilesystemSecurityContext]:
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


def _load(folder: Path) -> oscore.FilesystemSecurityContext:
    try:
        if missing := NEEDED - _names(folder):
            raise AdapterError(f"{folder} holds no OSCORE context: no {', '.join(sorted(missing))}")
        return oscore.FilesystemSecurityContext(str(folder))
    except Timeout:
        raise AdapterError(f"{folder} is in use by another program") from None
    except (KeyError, ValueError) as problem:
        raise AdapterError(f"{folder} holds no OSCORE context: {problem}") from None


def _names(folder: Path) -> set[str]:
    """What the files of a context say; aiocoap trips over its own feet where something lacks."""
    files = (folder / "settings.json", folder / "secret.json")
    names = [name for file in files if file.exists() for name in json.loads(file.read_text())]
    return {name.removesuffix("_hex").removesuffix("_ascii") for name in names}
