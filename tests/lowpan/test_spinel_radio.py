"""An RCP behind a pty: the gateway's radio through good and bad days."""

import asyncio

import pytest

from adapters.lowpan.radio import port, url
from adapters.lowpan.radio.interface import RadioError, RadioSettings, TxResult
from adapters.lowpan.radio.opener import make_radio
from adapters.sim.rcp import Ack, Faults, VirtualRcp
from adapters.sim.spinel import Id
from tests.deadlines import DEADLINE_S
from tests.lowpan.radio_bench import (
    BROADCAST_IN,
    BROADCAST_OUT,
    IMPATIENT,
    QUICK,
    SETTINGS,
    UNICAST_IN,
    UNICAST_OUT,
    Air,
    Listener,
    running,
    soon,
)


def address(rcp: VirtualRcp) -> str:
    return f"spinel+hdlc://{rcp.path}?baudrate=460800"


async def test_frames_go_out_and_come_in(rcp: VirtualRcp, air: Air, listener: Listener) -> None:
    async with running(address(rcp), listener) as radio:
        assert radio.is_up
        assert radio.info
        assert radio.info.eui64 == SETTINGS.eui64
        assert await radio.send(BROADCAST_OUT) is TxResult.SENT
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED
        assert air.frames == [BROADCAST_OUT, UNICAST_OUT]
        assert rcp.deliver(BROADCAST_IN, rssi_dbm=-71, lqi=180) is None
        frame = await soon(listener.frames)
        assert (frame.psdu, frame.rssi_dbm, frame.lqi) == (BROADCAST_IN, -71, 180)
        assert frame.channel == 26
        assert frame.timestamp_us is not None


async def test_what_nobody_acknowledges_is_told(
    rcp: VirtualRcp, air: Air, listener: Listener
) -> None:
    air.acks = False
    async with running(address(rcp), listener) as radio:
        assert await radio.send(UNICAST_OUT) is TxResult.NO_ACK
        assert await radio.send(BROADCAST_OUT) is TxResult.SENT


async def test_without_a_configured_address_the_stick_keeps_its_own(
    rcp: VirtualRcp, listener: Listener
) -> None:
    async with running(address(rcp), listener, RadioSettings(26, 0x23)) as radio:
        assert radio.info
        assert radio.info.eui64.hex() == "18b4300000000001"


async def test_the_baud_rate_is_found_when_none_is_given(
    rcp: VirtualRcp, listener: Listener
) -> None:
    async with running(f"spinel+hdlc://{rcp.path}", listener) as radio:
        assert await radio.send(BROADCAST_OUT) is TxResult.SENT


async def test_only_neighbours_with_waiting_frames_are_told_to_stay_awake(
    rcp: VirtualRcp, listener: Listener
) -> None:
    node = bytes.fromhex("020000000000aa01")
    async with running(address(rcp), listener) as radio:
        assert rcp.deliver(UNICAST_IN) == Ack(pending=False)
        await radio.set_pending(node, True)
        await radio.set_pending(b"\x12\x34", True)
        assert rcp.sleepy == {node, b"\x12\x34"}
        assert rcp.deliver(UNICAST_IN) == Ack(pending=True)
        rcp.reset()
        await soon(listener.ups)
        assert rcp.sleepy == {node, b"\x12\x34"}
        await radio.set_pending(node, False)
        assert rcp.sleepy == {b"\x12\x34"}


async def test_the_energy_of_all_channels_is_measured(
    rcp: VirtualRcp, air: Air, listener: Listener
) -> None:
    async with running(address(rcp), listener) as radio:
        energies = await radio.energy_scan(period_ms=1)
        assert energies == dict.fromkeys(range(11, 27), -90)
        assert await radio.send(BROADCAST_OUT) is TxResult.SENT


async def test_an_impossible_measurement_is_refused_and_disturbs_nothing(
    rcp: VirtualRcp, listener: Listener
) -> None:
    async with running(address(rcp), listener) as radio:
        for channels, period_ms in (([10], 1), ([11], 0), ([11], 100_000)):
            with pytest.raises(ValueError, match=r"channel"):
                await radio.energy_scan(channels, period_ms)
        assert await radio.send(BROADCAST_OUT) is TxResult.SENT


async def test_who_is_waited_for_may_change_while_the_radio_is_away(
    rcp: VirtualRcp, listener: Listener
) -> None:
    async with running(address(rcp), listener) as radio:
        await radio.set_pending(b"\x00\x01", True)
        rcp.unplug()
        await soon(listener.downs)
        await radio.set_pending(b"\x00\x01", False)
        await radio.set_pending(b"\x00\x02", True)
        rcp.plug()
        await soon(listener.ups)
        assert rcp.sleepy == {b"\x00\x02"}


async def test_who_waits_for_a_frame_is_told_when_the_radio_is_closed(
    rcp: VirtualRcp, air: Air, listener: Listener
) -> None:
    async with running(address(rcp), listener) as radio:
        rcp.faults = Faults(delay_s=1000.0)
        sends = [asyncio.ensure_future(radio.send(UNICAST_OUT)) for _ in range(2)]
        async with asyncio.timeout(DEADLINE_S):
            while not air.frames:
                await asyncio.sleep(0)
    assert await asyncio.gather(*sends) == [TxResult.DOWN] * 2


async def test_a_restart_of_the_firmware_is_noticed_and_undone(
    rcp: VirtualRcp, listener: Listener
) -> None:
    async with running(address(rcp), listener) as radio:
        rcp.reset()
        assert "restarted by itself" in await soon(listener.downs)
        await soon(listener.ups)
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED
        rcp.deliver(BROADCAST_IN)
        assert (await soon(listener.frames)).psdu == BROADCAST_IN


async def test_a_restart_in_mid_transmission_fails_that_frame_only(
    rcp: VirtualRcp, air: Air, listener: Listener
) -> None:
    async with running(address(rcp), listener) as radio:
        rcp.faults = Faults(delay_s=1000.0)
        sending = asyncio.ensure_future(radio.send(UNICAST_OUT))
        async with asyncio.timeout(DEADLINE_S):
            while not air.frames:
                await asyncio.sleep(0)
        rcp.faults = Faults()
        rcp.reset()
        assert await sending is TxResult.DOWN
        await soon(listener.ups)
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED


async def test_a_restart_that_told_nothing_is_found_by_asking(
    rcp: VirtualRcp, listener: Listener
) -> None:
    async with running(address(rcp), listener, timings=IMPATIENT) as radio:
        rcp.settings[Id.PHY_ENABLED] = b"\0"
        assert "lost its settings" in await soon(listener.downs)
        await soon(listener.ups)
        assert radio.is_up


async def test_a_firmware_that_hangs_is_noticed_and_taken_back_when_it_recovers(
    rcp: VirtualRcp, listener: Listener
) -> None:
    async with running(address(rcp), listener, timings=IMPATIENT) as radio:
        rcp.hang()
        assert "hangs" in await soon(listener.downs)
        assert await radio.send(UNICAST_OUT) is TxResult.DOWN
        with pytest.raises(RadioError, match="hangs"):
            await radio.energy_scan([11])
        assert "does not answer at 460800 baud" in await soon(listener.downs)
        rcp.wake()
        await soon(listener.ups)
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED


async def test_a_firmware_that_hangs_in_mid_transmission_is_noticed(
    rcp: VirtualRcp, listener: Listener
) -> None:
    async with running(address(rcp), listener, timings=IMPATIENT) as radio:
        rcp.hang()
        assert await radio.send(UNICAST_OUT) is TxResult.DOWN
        rcp.wake()
        await soon(listener.ups)


async def test_an_unplugged_stick_is_found_again_at_its_old_place(
    rcp: VirtualRcp, listener: Listener
) -> None:
    async with running(address(rcp), listener, RadioSettings(26, 0x23)) as radio:
        before = radio.info
        rcp.unplug()
        assert "was lost" in await soon(listener.downs)
        assert "is the stick plugged in" in await soon(listener.downs)
        assert not radio.is_up
        assert await radio.send(UNICAST_OUT) is TxResult.DOWN
        rcp.plug()
        await soon(listener.ups)
        assert radio.info == before
        assert await radio.send(BROADCAST_OUT) is TxResult.SENT


async def test_a_new_stick_in_the_old_place_takes_over_the_address(
    rcp: VirtualRcp, listener: Listener
) -> None:
    async with running(address(rcp), listener, RadioSettings(26, 0x23)) as radio:
        other = bytes.fromhex("18b4300000000099")
        rcp.replace_stick(other)
        info = await soon(listener.ups)
        assert info.eui64.hex() == "18b4300000000001"
        assert rcp.settings[Id.LADDR] == info.eui64
        assert radio.is_up


async def test_noise_on_the_line_is_counted_and_disturbs_nothing(
    rcp: VirtualRcp, listener: Listener
) -> None:
    async with running(address(rcp), listener) as radio:
        rcp.say(b"\x7e\x01\x02\x03\x04\x7e\xff\xfe")
        rcp.deliver(BROADCAST_IN)
        rcp.deliver(BROADCAST_IN)
        assert (await soon(listener.frames)).psdu == BROADCAST_IN
        assert listener.faults
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED


async def test_debug_text_at_any_moment_disturbs_nothing(
    rcp: VirtualRcp, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with running(address(rcp), listener) as radio:
        rcp.debug("Framing error 6: [\x1b\n")
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED
    assert "RCP says: Framing error 6: [?" in caplog.text


async def test_frames_survive_a_bad_day_on_the_air(air: Air, listener: Listener) -> None:
    faults = Faults(tx_loss=0.2, rx_loss=0.2, duplicate=0.2, reorder=0.2, delay_s=0.002)
    async with (
        VirtualRcp(air, faults=faults, seed=7) as rcp,
        running(address(rcp), listener) as radio,
    ):
        sent = []
        for sequence in range(100):
            sent.append(await radio.send(UNICAST_OUT[:2] + bytes((sequence,)) + UNICAST_OUT[3:]))
            rcp.deliver(BROADCAST_IN[:2] + bytes((sequence,)) + BROADCAST_IN[3:])
        rcp.faults = Faults()
        rcp.deliver(BROADCAST_IN[:2] + b"\xff" + BROADCAST_IN[3:])
        sequences: list[int] = []
        while not sequences or sequences[-1] != 0xFF:
            sequences.append((await soon(listener.frames)).psdu[2])
    assert {TxResult.ACKED, TxResult.NO_ACK} == set(sent)
    assert 10 < sent.count(TxResult.NO_ACK) < 30
    assert len(set(sequences)) < len(sequences)
    assert sequences != sorted(sequences)
    assert len(set(sequences)) > 60


async def test_too_many_waiting_frames_are_refused_at_once(
    rcp: VirtualRcp, listener: Listener
) -> None:
    async with running(address(rcp), listener) as radio:
        results = await asyncio.gather(*(radio.send(BROADCAST_OUT) for _ in range(100)))
        assert results.count(TxResult.SENT) == 64
        assert results.count(TxResult.QUEUE_FULL) == 36


async def test_a_sender_that_gives_up_does_not_disturb_the_next(
    rcp: VirtualRcp, air: Air, listener: Listener
) -> None:
    async with running(address(rcp), listener) as radio:
        rcp.faults = Faults(delay_s=0.01)
        first = asyncio.ensure_future(radio.send(UNICAST_OUT))
        async with asyncio.timeout(DEADLINE_S):
            while not air.frames:
                await asyncio.sleep(0)
        first.cancel()
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED
        assert listener.downs.empty()


async def test_a_frame_that_was_given_up_before_its_turn_is_not_sent(
    rcp: VirtualRcp, air: Air, listener: Listener
) -> None:
    async with running(address(rcp), listener) as radio:
        sends = [asyncio.ensure_future(radio.send(UNICAST_OUT)) for _ in range(3)]
        await asyncio.sleep(0)
        sends[1].cancel()
        assert [await sends[0], await sends[2]] == [TxResult.ACKED] * 2
        assert len(air.frames) == 2


async def test_a_radio_that_was_never_there_is_an_error_that_names_it(listener: Listener) -> None:
    radio = make_radio(url.parse("spinel+hdlc:///dev/ttyNONE?baudrate=115200"), SETTINGS, listener)
    with pytest.raises(RadioError, match=r"no /dev/ttyNONE: is the stick plugged in\?"):
        await radio.run()


async def test_a_port_that_another_program_holds_is_an_error_that_names_it(
    rcp: VirtualRcp, listener: Listener
) -> None:
    async with running(address(rcp), listener):
        second = make_radio(url.parse(address(rcp)), SETTINGS, Listener(), QUICK)
        with pytest.raises(RadioError, match="is in use by"):
            await second.run()


async def test_octets_that_come_one_by_one_make_the_same_frames(
    rcp: VirtualRcp, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "READ_SIZE", 1)
    async with running(address(rcp), listener) as radio:
        rcp.deliver(BROADCAST_IN)
        assert (await soon(listener.frames)).psdu == BROADCAST_IN
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED


async def test_a_stick_that_leaves_the_bus_when_it_is_reset_comes_up_all_the_same(
    air: Air, listener: Listener
) -> None:
    async with VirtualRcp(air, leaves_bus=True) as rcp, running(address(rcp), listener) as radio:
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED
        rcp.reset()
        await soon(listener.ups)
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED
