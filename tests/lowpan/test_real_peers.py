"""The stack with programs of other projects, where they are at hand; `real_peers` says how."""

from pathlib import Path
from time import monotonic

from adapters.lowpan.mac.counter import FrameCounter
from adapters.lowpan.mac.frame import KeyId, KeyIdMode
from adapters.lowpan.mac.link import Identity, MacLink, Received
from adapters.lowpan.mac.security import LinkSecurity
from adapters.lowpan.radio.interface import Radio, RadioSettings, TxResult
from gateway.events import State, Write
from gateway.model import Path as Resource
from tests.lowpan.mesh_bench import Gateway, device_of
from tests.lowpan.radio_bench import Listener, running, soon
from tests.lowpan.real_peers import (
    CHANNEL,
    NODE,
    PAN_ID,
    again_after_a_crash,
    air,
    gcoap_node,
    needs_gcoap,
    needs_rcp,
    rcp,
)

SETTINGS = RadioSettings(CHANNEL, PAN_ID)
SECURITY = LinkSecurity(5, bytes(range(16)), KeyId(KeyIdMode.INDEX, 1))

SHIPPED = Path(__file__).parents[2] / "config" / "devices"
REQUESTS, BOARD = Resource(3300, 0, 5700), Resource(3, 0, 17)

OUTPUT = Resource(3203, 0, 5650)
WRITABLE = """
name = "a number to write"

[match]
paths = ["/cli/stats"]

[[resource]]
path = "/cli/stats"
object = 3203
resource = 5650
scale = 0.001
observe = false
"""


@needs_rcp
@needs_gcoap
@again_after_a_crash
async def test_a_gcoap_node_behind_an_openthread_rcp_is_read_and_observed(tmp_path: Path) -> None:
    gateway = Gateway(NODE)
    async with air() as shared:
        with rcp(1, shared.offset, tmp_path) as port, gcoap_node(shared.zep_port, tmp_path) as node:
            async with gateway.running(
                f"spinel+hdlc://{port}",
                pan_id=PAN_ID,
                ack_timeout="2s",
                poll="1h",  # what comes later comes unasked
                definitions=SHIPPED,
            ):
                await gateway.until(lambda: gateway.value(NODE, REQUESTS) == 0.0, "a count")
                assert str(gateway.value(NODE, BOARD)).startswith("native")
                assert gateway.state(NODE) == (
                    State.ONLINE,
                    "connected: 6LoWPAN-ND, in radio reach",
                )
                await node.tell("ping -s 600 fd00::1", "3 packets received")
                await node.tell("coap get coap://[fd00::1]/.well-known/core", "code 2.05")
                await gateway.until(lambda: gateway.value(NODE, REQUESTS) == 1.0, "a notification")


@needs_gcoap
@again_after_a_crash
async def test_a_gcoap_node_on_zep_is_read_and_written(tmp_path: Path) -> None:
    (tmp_path / "writable.toml").write_text(WRITABLE)
    gateway = Gateway(NODE)
    async with air() as shared:
        port = shared.zep_port
    async with gateway.running(
        f"zep://[::1]:{port}?listen=1", pan_id=PAN_ID, ack_timeout="2s", definitions=tmp_path
    ):
        await gateway.until(lambda: "running" in gateway.south.text, "the socket")
        with gcoap_node(port, tmp_path):
            await gateway.until(lambda: gateway.value(NODE, OUTPUT) == 0.0, "the output")
            write = Write(device_of(NODE), {OUTPUT: 0.007}, "test")
            outcome = await gateway.hub.commander.execute(write)
            assert outcome.confirmed
            assert gateway.value(NODE, OUTPUT) == 0.007


@needs_rcp
async def test_two_openthread_rcps_carry_secured_frames_and_measure_energy(tmp_path: Path) -> None:
    def link(radio: Radio) -> MacLink:
        assert radio.info is not None
        counter = FrameCounter(0, lambda _: None)
        identity = Identity(PAN_ID, radio.info.eui64)
        return MacLink(identity, link_security=SECURITY, counter=counter)

    near, far = Listener(), Listener()
    async with air() as shared:
        with rcp(1, shared.offset, tmp_path) as one, rcp(2, shared.offset, tmp_path) as other:
            async with (
                running(f"spinel+hdlc://{one}", near, SETTINGS) as sender,
                running(f"spinel+hdlc://{other}", far, SETTINGS) as receiver,
            ):
                assert sender.info is not None
                assert receiver.info is not None
                assert "OPENTHREAD" in sender.info.firmware
                assert set(await sender.energy_scan((11, CHANNEL), 20)) == {11, CHANNEL}
                out, back = link(sender), link(receiver)
                for size in (1, 80, out.payload_limit(receiver.info.eui64)):
                    psdu = out.data(receiver.info.eui64, bytes(size))
                    assert await sender.send(psdu) is TxResult.ACKED
                    heard = back.receive((await soon(far.frames)).psdu, monotonic())
                    assert isinstance(heard, Received)
                    assert (heard.payload, heard.security_level) == (bytes(size), 5)
                lost = out.data(bytes.fromhex("0200000000009999"), b"nobody there")
                assert await sender.send(lost) is TxResult.NO_ACK
