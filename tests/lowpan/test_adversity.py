"""What the stack promises when the air is bad, the stick fails and things are started again."""

import asyncio
import time
from pathlib import Path as FilePath

import pytest

from adapters.lowpan import durable
from adapters.lowpan.mac.counter import FrameCounter
from adapters.lowpan.mac.frame import KeyId, KeyIdMode, decode
from adapters.lowpan.mac.link import Identity, MacLink, Received
from adapters.lowpan.mac.security import LinkSecurity
from adapters.lowpan.section import LowpanSection, link_security
from adapters.sim import packets, sixlowpan
from adapters.sim.coap import POST
from adapters.sim.ipso import LINKS, TLV
from adapters.sim.mesh import Mesh
from adapters.sim.node import Profile
from adapters.sim.rcp import Faults, VirtualRcp
from gateway.errors import AdapterError, Unreachable
from gateway.events import Change, State, Write
from gateway.model import Path
from gateway.ports import Outbox
from tests.deadlines import DEADLINE_S
from tests.fakes import DictMemory
from tests.lowpan import networks, tshark
from tests.lowpan.mesh_bench import (
    LEAF,
    ND,
    ROUTER,
    SWITCH,
    TEMPERATURE,
    Gateway,
    add,
    device_of,
    thermometer,
)

WENT_DOWN = "not reached since the radio went down: "
BAD_AIR = Faults(tx_loss=0.2, rx_loss=0.2, duplicate=0.2, reorder=0.2, delay_s=0.01)

HEAL_S = DEADLINE_S
"""Growing pauses before a stick is opened again, and before a request is repeated, add up."""


async def test_in_bad_air_every_reading_arrives_once_and_in_order() -> None:
    mesh, gateway = Mesh(), Gateway(ROUTER, LEAF)
    router = add(mesh, ROUTER, Profile.RPL)
    leaf = add(mesh, LEAF, Profile.RPL, near=False, to=(router,))
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}", poll="1h"):
        await gateway.until(lambda: gateway.watches(LEAF, TEMPERATURE), "an observation")
        rcp.faults = BAD_AIR
        gateway.south.readings.clear()
        told = [float(n) for n in range(100, 120)]
        for value in told:
            leaf.objects.set("/3303/0/5700", value)
        await gateway.until(lambda: gateway.value(LEAF, TEMPERATURE) == told[-1], "the last")
        wanted = device_of(LEAF), TEMPERATURE
        got = [r.value for r in gateway.south.readings if (r.device, r.path) == wanted]
        assert got == told


async def test_after_a_reset_of_the_rcp_in_mid_traffic_readings_go_on_and_the_status_tells() -> (
    None
):
    mesh, gateway = Mesh(), Gateway(ND)
    node = add(mesh, ND, Profile.ND)
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await gateway.until(lambda: gateway.watches(ND, TEMPERATURE), "an observation")
        node.objects.set("/3303/0/5700", 1.0)
        rcp.reset()
        async with asyncio.timeout(HEAL_S):
            await gateway.until(lambda: gateway.value(ND, TEMPERATURE) == 1.0, "the reading")
            await gateway.until(lambda: "recovered after" in gateway.south.text, "the status")
        assert "reset" in gateway.south.text
        assert gateway.state(ND)[0] is State.ONLINE


async def test_while_the_stick_is_out_nodes_are_offline_and_what_they_measure_follows() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    node = add(mesh, ND, Profile.ND)
    async with (
        mesh.running() as rcp,
        gateway.running(f"spinel+hdlc://{rcp.path}", poll="1h") as adapter,
    ):
        await gateway.until(lambda: gateway.watches(ND, TEMPERATURE), "an observation")
        rcp.unplug()
        await gateway.until(lambda: "the radio is down" in gateway.south.text, "the status")
        await gateway.until(lambda: WENT_DOWN in gateway.state(ND)[1], "the reason")
        assert gateway.state(ND)[0] is State.OFFLINE
        node.objects.set("/3303/0/5700", 1.0)
        with pytest.raises(Unreachable, match="the radio is down"):
            await gateway.hub.commander.execute(Write(device_of(ND), {SWITCH: True}, "test"))
        session, _ = adapter._sessions[device_of(ND)]
        session.restart()
        await gateway.until(lambda: session._missed and not session._news.is_set(), "an attempt")
        assert WENT_DOWN in gateway.state(ND)[1]
        rcp.plug()
        async with asyncio.timeout(HEAL_S):
            await gateway.until(lambda: gateway.value(ND, TEMPERATURE) == 1.0, "the reading")
            assert gateway.state(ND)[0] is State.ONLINE
            await gateway.until(lambda: gateway.watches(ND, TEMPERATURE), "an observation")
            node.objects.set("/3303/0/5700", 2.0)
            await gateway.until(lambda: gateway.value(ND, TEMPERATURE) == 2.0, "the next one")
        assert "recovered after" in gateway.south.text
        assert "lost" in gateway.south.text


async def test_what_came_just_before_the_stick_went_is_told_of_a_node_that_is_offline() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    add(mesh, ND, Profile.ND)
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}") as adapter:
        await gateway.until(lambda: gateway.watches(ND, TEMPERATURE), "an observation")
        rcp.unplug()
        await gateway.until(lambda: gateway.state(ND)[0] is State.OFFLINE, "offline")
        session, _ = adapter._sessions[device_of(ND)]
        gateway.hub.outboxes.append(told := Outbox())
        session._report({TEMPERATURE: (5.0, time.time())})
        events = [e for e in told.take_all() if e.device == device_of(ND)]
        assert events == [Change(device_of(ND), TEMPERATURE)]  # and nothing of online
        assert gateway.value(ND, TEMPERATURE) == 5.0
        assert gateway.state(ND)[0] is State.OFFLINE


async def test_a_node_that_falls_silent_is_offline_and_comes_back_when_it_is_heard() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    node = add(mesh, ND, Profile.ND)
    async with (
        mesh.running() as rcp,
        gateway.running(f"spinel+hdlc://{rcp.path}", ack_timeout="30ms"),
    ):
        await gateway.until(lambda: gateway.value(ND, TEMPERATURE) == 21.5, "a temperature")
        rcp.faults = Faults(tx_loss=1.0, rx_loss=1.0)
        await gateway.until(lambda: gateway.state(ND)[0] is State.OFFLINE, "offline")
        assert "did not answer, asked 5 times" in gateway.state(ND)[1]
        assert gateway.value(ND, TEMPERATURE) == 21.5
        rcp.faults = Faults()
        node.objects.set("/3303/0/5700", 3.0)
        await gateway.until(lambda: gateway.value(ND, TEMPERATURE) == 3.0, "the reading")
        assert gateway.state(ND)[0] is State.ONLINE


async def test_a_node_in_queue_mode_that_does_not_answer_is_asleep() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    node = add(mesh, ND, Profile.ND, thermometer(formats=(TLV,)))
    async with (
        mesh.running() as rcp,
        gateway.running(f"spinel+hdlc://{rcp.path}", ack_timeout="30ms"),
    ):
        async with asyncio.timeout(HEAL_S):
            await node.joined.wait()
            links = node.objects.links(instances=True)
            await node.ask(POST, "/rd?ep=a&lwm2m=1.1&b=U&Q&lt=60", LINKS, links)
        await gateway.until(lambda: gateway.watches(ND, TEMPERATURE), "an observation")
        rcp.faults = Faults(tx_loss=1.0, rx_loss=1.0)
        await gateway.until(lambda: gateway.state(ND)[0] is State.ASLEEP, "asleep")
        rcp.faults = Faults()
        node.objects.set("/3303/0/5700", 4.0)
        await gateway.until(lambda: gateway.value(ND, TEMPERATURE) == 4.0, "the reading")


async def test_a_radio_that_hears_none_of_its_nodes_ends_the_adapter_and_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters.lowpan.adapter.SILENT_POLLS", 0)
    mesh, gateway = Mesh(), Gateway(ND)
    add(mesh, ND, Profile.ND)
    async with mesh.running() as rcp:
        with pytest.raises(ExceptionGroup) as caught:
            async with (
                asyncio.timeout(HEAL_S),
                gateway.running(f"spinel+hdlc://{rcp.path}", poll="1h", silence_timeout="500ms"),
            ):
                await asyncio.Event().wait()
    reason: BaseException = caught.value
    while isinstance(reason, BaseExceptionGroup):
        reason = reason.exceptions[0]
    assert f"the radio spinel+hdlc://{rcp.path} has heard nothing for" in str(reason)
    assert gateway.hub.counters["lowpan_radio_silences"] == 1


async def test_without_a_radio_the_adapter_fails_with_what_to_do() -> None:
    gateway = Gateway()
    with pytest.raises(ExceptionGroup) as caught:
        async with gateway.running("spinel+hdlc:///dev/no-such-stick"):
            await asyncio.Event().wait()
    reason: Exception = caught.value
    while isinstance(reason, ExceptionGroup):
        reason = reason.exceptions[0]
    assert isinstance(reason, AdapterError)
    assert "is the stick plugged in" in str(reason)


async def test_a_known_device_is_read_again_after_a_restart_without_waiting_for_it() -> None:
    mesh, memory = Mesh(), DictMemory()
    add(mesh, ND, Profile.ND)
    async with mesh.running() as rcp:
        first = Gateway(ND, memory=memory)
        async with first.running(f"spinel+hdlc://{rcp.path}"):
            await first.until(lambda: first.value(ND, TEMPERATURE) == 21.5, "a temperature")
        # The node has joined and says nothing by itself now.
        second = Gateway(ND, memory=memory)
        second.hub.store.put(first.hub.store.require(device_of(ND)))
        async with second.running(f"spinel+hdlc://{rcp.path}"):
            await second.until(lambda: second.value(ND, TEMPERATURE) == 21.5, "a temperature")
    states = [data for (_, key), data in memory.data.items() if key == "router"]
    assert b'"version"' in states[0]


def test_secured_frames_have_counters_that_never_go_back() -> None:
    port, key, own = Gateway().south, bytes(range(16)), bytes.fromhex("0200000000001234")
    security = LinkSecurity(5, key, KeyId(KeyIdMode.INDEX, 0))
    numbers = []
    for _ in range(3):
        counter = durable.frame_counter(port, key, own)
        mac = MacLink(Identity(0xABCD, own), link_security=security, counter=counter)
        frames = [decode(mac.data(b"\xff\xff", b"hello")) for _ in range(1500)]
        numbers += [frame.security.frame_counter for frame in frames if frame.security]
    assert len(numbers) == 4500
    assert numbers == sorted(set(numbers))
    assert durable.frame_counter(port, bytes(16), own).take() == 0


def test_a_link_key_is_read_from_a_file_that_others_cannot_read(tmp_path: FilePath) -> None:
    file = tmp_path / "lowpan.key"
    given = {"radio": "zep://[::1]:17754", "key_file": str(file)}
    section = LowpanSection.model_validate(given)
    with pytest.raises(AdapterError, match="cannot be read"):
        link_security(section)
    file.write_text("000102030405060708090a0b0c0d0e0f\n", encoding="ascii")
    file.chmod(0o640)
    security = link_security(section)
    assert security is not None
    assert security.key == bytes(range(16))
    assert security.key_id == KeyId(KeyIdMode.INDEX, 0)
    file.chmod(0o644)
    with pytest.raises(AdapterError, match="chmod 640"):
        link_security(section)
    file.chmod(0o600)
    for text in ("0001", "secret", "zz" * 16):
        file.write_text(text, encoding="ascii")
        with pytest.raises(AdapterError) as caught:
            link_security(section)
        assert text not in str(caught.value)


async def test_what_a_node_has_no_more_is_withdrawn() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    node = add(mesh, ND, Profile.ND)
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}") as adapter:
        await gateway.until(lambda: gateway.value(ND, SWITCH) is False, "a switch")
        del node.objects.values["/3311/0/5850"]
        adapter._sessions[device_of(ND)][0].restart()
        there = gateway.hub.store.resource
        await gateway.until(lambda: there(device_of(ND), SWITCH) is None, "the withdrawal")
        assert there(device_of(ND), TEMPERATURE) is not None
        assert there(device_of(ND), Path(4, 0, 2)) is not None


async def test_tshark_finds_nothing_wrong_with_all_that_was_on_the_air(tmp_path: FilePath) -> None:
    mesh, gateway = Mesh(), Gateway(ND, ROUTER, LEAF)
    add(mesh, ND, Profile.ND)
    router = add(mesh, ROUTER, Profile.RPL)
    add(mesh, LEAF, Profile.RPL, near=False, to=(router,))
    air: list[bytes] = []
    mesh.tap = air.append
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        for node in (ND, ROUTER, LEAF):
            await gateway.until(lambda n=node: gateway.watches(n, TEMPERATURE), "a node")  # type: ignore[misc]
        await gateway.hub.commander.execute(Write(device_of(LEAF), {SWITCH: True}, "test"))
    fields = [
        "_ws.malformed",
        "udp.checksum.status",
        "icmpv6.checksum.status",
        "_ws.expert.message",
    ]
    # The last address that tshark checks a source-routed datagram's checksum with is the next hop.
    frames = [networks.link_frame(psdu + bytes(2)) for psdu in air]
    context = {0: networks.context("fd00::/64")}
    rows = tshark.dissect(
        tmp_path, [*fields, "ipv6.routing.segleft"], frames=frames, contexts=context
    )
    wrong = [
        row
        for row in rows
        if row[0] or (("0" in row[1:3] or "Bad" in row[3]) and row[4] in ("", "0"))
    ]
    assert len(rows) > 50
    assert not wrong
    assert any(row[4] == "1" for row in rows)


async def test_with_a_link_key_all_frames_are_secured_and_frames_in_clear_are_dropped(
    tmp_path: FilePath,
) -> None:
    file, key = tmp_path / "key", bytes(range(16))
    file.write_text(key.hex(), encoding="ascii")
    file.chmod(0o600)
    security = LinkSecurity(5, key, KeyId(KeyIdMode.INDEX, 0))
    node = MacLink(
        Identity(0xABCD, ND), link_security=security, counter=FrameCounter(0, lambda _: None)
    )
    heard: asyncio.Queue[Received] = asyncio.Queue()
    clear: list[bytes] = []

    def on_air(psdu: bytes) -> bool:
        taken = node.receive(psdu, 0.0)
        if isinstance(taken, Received):
            heard.put_nowait(taken)
        else:
            clear.append(psdu)
        return True

    solicitation = packets.icmp(
        b"\xfe\x80" + bytes(6) + sixlowpan.iid(ND),
        packets.ALL_ROUTERS,
        *(packets.RS, 0, packets.router_solicitation(ND)),
    )
    (payload,) = sixlowpan.frames(solicitation.encode(), ND, b"\xff\xff", 0)
    gateway = Gateway()
    async with (
        VirtualRcp(on_air) as rcp,
        gateway.running(f"spinel+hdlc://{rcp.path}", key_file=str(file)),
    ):
        await gateway.until(lambda: "running" in gateway.south.text, "the radio")
        unsecured = MacLink(Identity(0xABCD, ND)).data(b"\xff\xff", payload)
        rcp.deliver(unsecured)
        await gateway.until(lambda: gateway.hub.counters["lowpan_mac_security_missing"], "a drop")
        rcp.deliver(node.data(b"\xff\xff", payload))
        async with asyncio.timeout(HEAL_S):
            reader, datagram = sixlowpan.Reader(), None
            while datagram is None:
                answer = await heard.get()
                if answer.destination == ND:
                    datagram = reader.feed(answer.payload, answer.source, ND)
        advertisement = packets.parse(datagram)
        assert advertisement.payload[0] == packets.RA
        assert packets.is_intact(advertisement)
        assert answer.security_level == 5
        assert not clear
