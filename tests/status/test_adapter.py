"""What the operator can get wrong, and is told."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest
from pydantic import ValidationError

from adapters.status.adapter import Status
from adapters.status.section import StatusSection
from gateway.errors import AdapterError
from gateway.objects.registry import Registry
from tests.coap.network import GATEWAY, Machine
from tests.deadlines import DEADLINE_S
from tests.fakes import HubBench


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that another program listens on."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
        yield f"127.0.0.1:{other.getsockname()[1]}"


def section(file: FilePath, token: str | None) -> StatusSection:
    if token is not None:
        file.write_text(token)
    return StatusSection(listen=("127.0.0.1:0",), token_file=file)


async def test_an_address_in_use_ends_the_adapter_with_a_sentence(
    bench: HubBench, taken: str
) -> None:
    status = Status(StatusSection(listen=("127.0.0.1:0", taken)), bench.north)
    with pytest.raises(
        AdapterError, match=f"cannot listen on {taken}: Address already in use: stop who has it"
    ):
        await status.run()


async def test_an_address_that_comes_after_boot_serves_the_page_then(
    bench: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.configuration.listen.LOOK_S", 0.01)
    with contextlib.closing(Machine()) as machine, machine.inside():
        config = StatusSection(listen=("127.0.0.1:8080", f"{GATEWAY}:8080"))
        task = asyncio.create_task(Status(config, bench.north).run())
        here, later = "http://127.0.0.1:8080/", f"http://{GATEWAY}:8080/"
        await told(bench, f"serves {here}, and {later} once this machine has that address;")
        machine.run("ip", "address", "add", GATEWAY, "dev", "lo")
        await told(bench, f"serves {here} and {later};")
        reader, writer = await asyncio.open_connection(GATEWAY, 8080)
        writer.write(f"GET /healthz HTTP/1.1\r\nHost: {GATEWAY}\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def told(bench: HubBench, beginning: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not bench.north.text.startswith(beginning):
            await asyncio.sleep(0.01)


async def test_without_any_address_there_is_no_page(bench: HubBench) -> None:
    status = Status(StatusSection(listen=("203.0.113.1:0", "203.0.113.2:0")), bench.north)
    with pytest.raises(AdapterError, match=r"cannot listen on \S+:0 or \S+:0: Cannot assign"):
        async with asyncio.timeout(DEADLINE_S):
            await status.run()


@pytest.mark.parametrize(
    ("token", "reason"), [("", "is empty"), ("short", "can be guessed"), (None, "cannot be read")]
)
async def test_a_token_that_protects_nothing_ends_the_adapter(
    bench: HubBench, tmp_path: FilePath, token: str | None, reason: str
) -> None:
    with pytest.raises(AdapterError, match=reason):
        await Status(section(tmp_path / "token", token), bench.north).run()


async def test_the_token_may_come_as_a_credential_of_systemd(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert StatusSection().token() is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert StatusSection().token() is None
    (tmp_path / "status-token").write_text("0123456789abcdef\n")
    assert StatusSection().token() == "0123456789abcdef"


async def test_check_tells_of_the_token_before_the_daemon_runs(tmp_path: FilePath) -> None:
    (tmp_path / "token").write_text("0123456789abcdef")
    (tmp_path / "token").chmod(0o644)
    config = StatusSection(token_file=tmp_path / "token")
    (open_to_others,) = await Status.check(config, Registry())
    assert f"chmod 640 {tmp_path}/token" in open_to_others.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"listen": []},
        {"listen": ["localhost:80"]},
        {"hosts": ["box:8080"]},
        {"hosts": ["http://a"]},
    ],
)
def test_what_is_no_address_or_name_is_an_error(wrong: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError):
        StatusSection.model_validate(wrong)
