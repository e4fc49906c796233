"""A D-Bus of our own: a private system bus, and a service's tree of objects on it.

Knows nothing of Bluetooth; what the objects mean is said by who exports them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

from dbus_fast import BusType, Message, MessageFlag, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusError

from gateway.errors import AdapterError

OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
PROPERTIES = "org.freedesktop.DBus.Properties"

_DAEMON_STARTS_S = 60.0
_DAEMON_STOPS_S = 30.0
_ADDRESS = "DBUS_SYSTEM_BUS_ADDRESS"
_CONFIG = """<!DOCTYPE busconfig PUBLIC '-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN'
 'http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd'>
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context='default'><allow user='*'/><allow own='*'/>
<allow send_type='*'/><allow receive_type='*'/></policy></busconfig>
"""

Reply = tuple[str, list[object]] | None
"""What a method returns: signature and body, or nothing."""


@contextlib.asynccontextmanager
async def private_bus() -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs a dbus-daemon and makes it this process's system bus."""
    if shutil.which("dbus-daemon") is None:
        raise AdapterError("virtual Bluetooth needs dbus-daemon: apt-get install dbus")
    with tempfile.TemporaryDirectory(prefix="bus-") as folder:
        socket = Path(folder, "bus")
        config = Path(folder, "bus.conf")
        await asyncio.to_thread(config.write_text, _CONFIG.format(socket=socket))
        daemon = await asyncio.create_subprocess_exec(
            "dbus-daemon",
            f"--config-file={config}",
            "--nofork",
            "--nopidfile",
            "--print-address",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal is not for it
        )
        before = os.environ.get(_ADDRESS)
        try:
            await _started(daemon)
            os.environ[_ADDRESS] = f"unix:path={socket}"
            yield daemon
        finally:
            if before is None:
                os.environ.pop(_ADDRESS, None)
            else:
                os.environ[_ADDRESS] = before
            await _stop(daemon)


async def _started(daemon: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(_DAEMON_STARTS_S):
        if daemon.stdout is None or not await daemon.stdout.readline():
            raise AdapterError(f"dbus-daemon ended at once with status {await daemon.wait()}")


async def _stop(daemon: asyncio.subprocess.Process) -> None:
    if daemon.returncode is None:
        daemon.terminate()
    try:
        async with asyncio.timeout(_DAEMON_STOPS_S):
            await daemon.communicate()
    except TimeoutError:
        daemon.kill()
        await daemon.communicate()


class ObjectTree:
    """The objects that a service exports, and the signals that tell of their changes.

    `answer` carries out a method call on one of them; it raises DBusError.
    """

    def __init__(self, name: str, answer: Callable[[Message], Awaitable[Reply]]) -> None:
        self.objects: dict[str, dict[str, dict[str, Variant]]] = {}
        self._name = name
        self._answer = answer
        self._bus: MessageBus | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_client_left: Callable[[str], None] = lambda _: None

    async def publish(self, on_client_left: Callable[[str], None]) -> None:
        """Takes the name on the system bus; tells of every client that leaves the bus."""
        self._on_client_left = on_client_left
        self._bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
        self._bus.add_message_handler(self._received)
        await self._bus.call(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=["type='signal',member='NameOwnerChanged'"],
            )
        )
        await self._bus.request_name(self._name)

    async def vanish(self) -> None:
        """Leaves the bus without a word, as a killed daemon does, and forgets everything."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._bus is not None:
            bus, self._bus = self._bus, None
            bus.disconnect()
            with contextlib.suppress(EOFError, OSError):  # the bus itself may have gone before
                await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        self.objects.clear()

    def spawn(self, coroutine: Awaitable[None]) -> None:
        """Runs something until it ends or the service vanishes."""
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def add(self, path: str, interface: str, properties: dict[str, Variant]) -> None:
        """Adds an object."""
        self.objects.setdefault(path, {})[interface] = properties
        body: list[object] = [path, {interface: properties}]
        self._signal("/", OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", body)

    def remove(self, path: str) -> None:
        """Removes an object and all below it, the lowest first."""
        below = [p for p in self.objects if p == path or p.startswith(f"{path}/")]
        for gone in sorted(below, reverse=True):
            interfaces = list(self.objects.pop(gone))
            body: list[object] = [gone, interfaces]
            self._signal("/", OBJECT_MANAGER, "InterfacesRemoved", "oas", body)

    def change(
        self, path: str, interface: str, invalidated: Iterable[str] = (), **properties: Variant
    ) -> None:
        """Sets and removes properties of an object, in one signal."""
        if path not in self.objects:
            return
        for name in invalidated:
            self.objects[path][interface].pop(name, None)
        self.objects[path][interface].update(properties)
        body: list[object] = [interface, properties, list(invalidated)]
        self._signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", body)

    def _signal(
        self, path: str, interface: str, member: str, signature: str, body: list[object]
    ) -> None:
        self._send(Message.new_signal(path, interface, member, signature, body))

    def _send(self, message: Message) -> None:
        if self._bus is not None and self._bus.connected:
            # What is still on its way when the bus goes is nobody's loss.
            self._bus.send(message).add_done_callback(
                lambda sent: sent.cancelled() or sent.exception()
            )

    def _received(self, message: Message) -> bool | None:
        if message.message_type is MessageType.SIGNAL and message.member == "NameOwnerChanged":
            name, _, owner = message.body
            if not owner:
                self._on_client_left(name)
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        if message.interface == "org.freedesktop.DBus.Peer":
            return None
        self.spawn(self._reply(message))
        return True

    async def _reply(self, message: Message) -> None:
        try:
            reply = Message.new_method_return(message, *(await self._called(message) or ("", [])))
        except DBusError as error:
            reply = Message.new_error(message, error.type, error.text)
        if not message.flags & MessageFlag.NO_REPLY_EXPECTED:
            self._send(reply)

    async def _called(self, message: Message) -> Reply:
        path, body = message.path or "/", message.body
        if message.member == "GetManagedObjects":
            return "a{oa{sa{sv}}}", [self.objects]
        if path not in self.objects:
            raise DBusError(
                "org.freedesktop.DBus.Error.UnknownObject",
                f"Method {message.member!r} with signature {message.signature!r} doesn't exist",
            )
        if message.interface == PROPERTIES and message.member == "Get":
            return "v", [self.objects[path][body[0]][body[1]]]
        if message.interface == PROPERTIES and message.member == "GetAll":
            return "a{sv}", [self.objects[path].get(body[0], {})]
        return await self._answer(message)
