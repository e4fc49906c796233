"""A virtual machine: a shell in it, its USB stick to pull out, and its power."""

import asyncio
import json
import secrets
import shlex
from pathlib import Path
from typing import Any

from tests.system.guest.image import Image

BOOT_S = 300.0
"""Less than a minute on an idle machine without KVM."""

SHELL_S = 60.0

STICK = "stick0"
STICK_NAME = "usb-QEMU_QEMU_USB_SERIAL_STICK1-if00-port0"


class CommandFailed(Exception):
    """A command in the guest ended with another status than 0."""


class Guest:
    """The machine, from `start` to `cut_power`; `tty` is this machine's end of its USB stick."""

    def __init__(self, image: Image, folder: Path, tty: str, coap_port: int) -> None:
        self._image = image
        self._folder = folder
        self._tty = tty
        self._coap_port = coap_port
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Boots; ends when the shell is there."""
        self._process = await asyncio.create_subprocess_exec(*self._command())
        async with asyncio.timeout(BOOT_S):
            self._reader, self._writer = await self._connect("shell")
            await self._reader.readuntil(b"the shell is up\n")

    async def shell(self, command: str) -> str:
        """What the command prints; CommandFailed if it fails."""
        mark = secrets.token_hex(8)
        line = f"timeout {SHELL_S:g} sh -c {shlex.quote(command)} </dev/null 2>&1; echo {mark} $?\n"
        self._writer.write(line.encode())
        async with asyncio.timeout(2 * SHELL_S):
            said = (await self._reader.readuntil(mark.encode())).decode(errors="replace")
            status = int(await self._reader.readline())
        said = said.removesuffix(mark).strip()
        if status:
            raise CommandFailed(f"{command}: status {status}: {said}")
        return said

    async def unplug_stick(self) -> None:
        """Pulls the stick out."""
        await self._monitor("device_del", id=STICK)

    async def plug_stick(self) -> None:
        """Plugs it in again."""
        await self._monitor("device_add", driver="usb-serial", bus="usb.0", **self._stick())

    async def cut_power(self) -> None:
        """Ends at once; what was not written to the disk is lost."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def _stick(self) -> dict[str, str]:
        return {"id": STICK, "chardev": "stick", "serial": "STICK1"}

    def _command(self) -> list[str]:
        stick = ",".join(f"{key}={value}" for key, value in self._stick().items())
        return [
            *("qemu-system-x86_64", *_accelerator(), "-m", "1024", "-smp", "2"),
            *("-display", "none", "-nodefaults", "-no-reboot"),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd)),
            *("-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1 net.ifnames=0"),
            *("-drive", f"file={self._image.disk},format=raw,if=virtio"),
            *("-device", "virtio-rng-pci"),
            *("-netdev", f"user,id=net,hostfwd=udp:127.0.0.1:{self._coap_port}-10.0.2.15:5683"),
            *("-device", "virtio-net-pci,netdev=net"),
            *("-device", "qemu-xhci,id=usb", "-chardev", f"serial,id=stick,path={self._tty}"),
            *("-device", f"usb-serial,bus=usb.0,{stick}"),
            *("-serial", f"file:{self._folder / 'console.log'}"),
            *("-serial", f"unix:{self._folder / 'shell'},server=on,wait=off"),
            *("-qmp", f"unix:{self._folder / 'monitor'},server=on,wait=off"),
        ]

    async def _connect(self, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            try:
                return await asyncio.open_unix_connection(self._folder / name)
            except OSError:
                await asyncio.sleep(0.1)

    async def _monitor(self, command: str, **arguments: str) -> None:
        """One command to QEMU itself."""
        async with asyncio.timeout(SHELL_S):
            reader, writer = await self._connect("monitor")
            await reader.readline()
            for name, given in (("qmp_capabilities", {}), (command, arguments)):
                writer.write(json.dumps({"execute": name, "arguments": given}).encode() + b"\n")
                reply: dict[str, Any] = {}
                while not reply.keys() & {"return", "error"}:  # events may come before
                    reply = json.loads(await reader.readline())
                if "error" in reply:
                    raise CommandFailed(f"{name}: {reply['error']}")
            writer.close()


def _accelerator() -> tuple[str, ...]:
    """KVM where it can run a stock kernel; a device node alone does not tell."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    if Path("/dev/kvm").exists() and flags & {"vmx", "svm"}:
        return ("-accel", "kvm", "-cpu", "host")
    return ("-accel", "tcg,thread=multi", "-cpu", "qemu64,-svm")
