"""`border-gateway demo`: the real daemon on virtual devices, and command lines to paste.

It starts the virtual parts, runs `border-gateway run` on a throw-away configuration, and prints
what the control socket tells. It knows nothing of the daemon's inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from adapters.sim import demo_setup
from adapters.sim.bench import demo_bench
from adapters.sim.demo_setup import Listed
from adapters.sim.mesh_demo import demo_mesh
from adapters.sim.port import free_port
from adapters.sim.prosody import ThrowawayProsody
from gateway.errors import AdapterError
from gateway.formats.text import to_words

_INFORMATIVE = b" INFO    "

START_TIMEOUT_S = 60.0
"""Connecting to three virtual devices takes about three seconds, on a slow box some more."""

LONGEST_LINE = 2**24
"""Octets in one line of the daemon: all resources of a device are 1,000 of a few kilobytes."""

STOP_TIMEOUT_S = 8.0
"""The daemon ends within five."""


@click.command("demo")
@click.option(
    "--coap-port",
    type=click.IntRange(0, 65535),
    default=demo_setup.COAP_PORT,
    show_default=True,
    help="Where CoAP is served; another port is taken if this one is not free.",
)
@click.option(
    "--status-port",
    type=click.IntRange(0, 65535),
    default=demo_setup.STATUS_PORT,
    show_default=True,
    help="Where the status page is served; another port is taken if this one is not free.",
)
@click.option(
    "--replay",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Show the devices of a bug report (border-gateway diagnostics), and nothing else.",
)
def command(coap_port: int, status_port: int, replay: Path | None) -> None:
    """Bridge virtual devices with the real daemon, and print command lines to try."""
    coap = free_port(coap_port)
    status = free_port(status_port)
    asyncio.run(_demo(demo_setup.Ports(coap, status), replay))


async def _demo(ports: demo_setup.Ports, replay: Path | None) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the last: a closed terminal
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="border-gateway-")))
        click.echo("Starting virtual devices and servers ...")
        if replay:
            devices = demo_setup.write_replay(folder, replay, ports)
            lines = demo_setup.replay_lines(folder, ports)
        else:
            devices, lines = await _virtual(stack, folder, ports)
        await stack.enter_async_context(_daemon(folder))
        showing = asyncio.create_task(_show(folder, devices, lines))
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait({showing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):  # nobody may be there any more
            click.echo("\nStopping ...")
            await showing


async def _virtual(
    stack: contextlib.AsyncExitStack, folder: Path, ports: demo_setup.Ports
) -> tuple[Sequence[Listed], str]:
    """Starts radios, devices and a server; gives the devices, and what to print about them."""
    devices = await _devices(stack)
    radio = await stack.enter_async_context(demo_mesh())
    devices += demo_setup.NODES
    server = await _xmpp_server(stack)
    demo_setup.write(folder, devices, ports, radio, server)
    return devices, demo_setup.command_lines(folder, devices, ports, server)


async def _devices(stack: contextlib.AsyncExitStack) -> list[Listed]:
    try:
        await stack.enter_async_context(demo_bench())
    except AdapterError as error:
        click.echo(f"No virtual Bluetooth, a virtual thermometer instead: {error}")
        return [demo_setup.THERMOMETER]
    return list(demo_setup.MODULES)


async def _xmpp_server(stack: contextlib.AsyncExitStack) -> ThrowawayProsody | None:
    try:
        return await stack.enter_async_context(
            ThrowawayProsody(demo_setup.ACCOUNTS, admins=[demo_setup.GATEWAY])
        )
    except AdapterError as error:
        click.echo(f"No XMPP: {error}")
        return None


@contextlib.asynccontextmanager
async def _daemon(folder: Path) -> AsyncIterator[None]:
    """The daemon as a child process, in a process group of its own so that Ctrl-C is ours."""
    daemon = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "run"),
        *("--config", folder / "gateway.toml", "--state", folder / "state"),
        process_group=0,
        stderr=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
    )
    telling = asyncio.create_task(_tell(daemon.stderr))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            daemon.terminate()
        try:
            await asyncio.wait_for(daemon.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            daemon.kill()
            await daemon.wait()
        await telling


async def _tell(log: asyncio.StreamReader | None) -> None:
    """Prints what the daemon logs, but what is only informative: its status page shows that."""
    assert log is not None  # noqa: S101  (it is a pipe)
    async for line in log:
        if _INFORMATIVE not in line:
            click.echo(line, nl=False, err=True)


async def _show(folder: Path, devices: Sequence[Listed], lines: str) -> None:
    control = folder / demo_setup.SOCKET
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            for device in devices:
                await _until_bridged(control, device)
    except TimeoutError:
        click.echo("The devices were not bridged in time; see the lines above.", err=True)
        return
    click.echo(lines)
    async for line in _answers(control, {"do": "watch", "target": None}):
        if "device" in line:
            click.echo(f"{line['device']['prefix']} is {line['device']['state']}")
        elif line.get("value") is not None:
            click.echo(f"{line['path']} = {to_words(line['value'])}  ({line['name']})")


async def _until_bridged(control: Path, device: Listed) -> None:
    """Waits until the daemon has a value for the resource that the device is known by."""
    while True:
        request = {"do": "get", "target": f"{device.prefix}/{device.shows}"}
        with contextlib.suppress(OSError, AdapterError):
            async for _ in _answers(control, request):
                return
        await asyncio.sleep(0.2)


async def _answers(control: Path, request: Mapping[str, object]) -> AsyncIterator[Any]:
    reader, writer = await asyncio.open_unix_connection(control, limit=LONGEST_LINE)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        while line := await reader.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise AdapterError(answer["error"])
            yield answer["ok"]
    finally:
        writer.close()
