"""Several gateways on one service: each keeps its own nodes, and touches nobody else's."""

from typing import Any

import pytest
from slixmpp.exceptions import IqError

from gateway.model import DeviceId
from gateway.objects.registry import Registry
from tests.fakes import METER, STATION, Clock, HubBench
from tests.xmpp.conftest import NODE, PASSWORDS, VALUE, Peer, Run, field

ATTIC = "iot/attic/0024befffe804ff1"
ATTICS_METER = "iot/attic/0024befffe804ff2"

both_may = pytest.mark.parametrize("server_options", [{"admins": ["gateway", "boss"]}])


def house(clock: Clock, *devices: DeviceId) -> HubBench:
    bench = HubBench(clock, Registry.builtin())
    for device in devices:
        bench.join(device)
        bench.say({VALUE: 7.5}, device)
    return bench


def attic(**options: Any) -> dict[str, Any]:
    defaults = {"jid": "boss@localhost", "gateway": "attic", "password": PASSWORDS["boss"]}
    return defaults | options


@both_may
async def test_each_gateway_prunes_and_deletes_its_own_nodes_only(
    run: Run, admin: Peer, clock: Clock, bench: HubBench
) -> None:
    """Both bridge the same device, and each a service's administrator, as Prosody wants it."""
    upstairs = house(clock, STATION, METER)
    async with run() as first, run(**attic(), bench=upstairs) as second:
        await first.settled()
        await second.settled()
        assert field((await admin.stored(NODE))["3303/0"], "5700") == "21.5"
        assert field((await admin.stored(ATTIC))["3303/0"], "5700") == "7.5"
        bench.hub.forget(STATION)
        await first.settled()
        with pytest.raises(IqError, match="item-not-found"):
            await admin.stored(NODE)
        assert "3303/0" in await admin.stored(ATTIC)
    smaller = house(clock, STATION)
    async with run(prune=True) as first, run(**attic(prune=True), bench=smaller) as second:
        await first.settled()
        await second.settled()
        await admin.subscribe("iot/attic")
        await admin.until(lambda: ("iot/attic", "gateway") in admin.items)
        async with run(**attic(gateway="cellar"), bench=house(clock)) as third:
            await third.settled()
        assert "3303/0" in await admin.stored(ATTIC)
    with pytest.raises(IqError, match="item-not-found"):
        await admin.stored(ATTICS_METER)


@both_may
async def test_two_gateways_of_one_name_do_not_overwrite_each_other(
    run: Run, admin: Peer, clock: Clock
) -> None:
    upstairs = house(clock, STATION)
    async with run() as first:
        await first.settled()
        async with run(**attic(gateway="gateway"), bench=upstairs) as second:
            text = await second.says("not connected")
            assert "gateway@localhost/gateway publishes on iot/gateway already" in text
            assert field((await admin.stored(NODE))["3303/0"], "5700") == "21.5"
    async with run(**attic(gateway="gateway"), bench=upstairs) as second:  # the first said goodbye
        await second.says("connected as boss@localhost")
        await second.settled()
        assert field((await admin.stored(NODE))["3303/0"], "5700") == "7.5"
