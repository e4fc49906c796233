"""Composites: several devices written in one request, all or none."""

import json
from typing import Any

import cbor2
import pytest

from adapters.coap.messages import Block, Code, Format, Request, Response
from adapters.coap.server import Server
from gateway.errors import CommandError, NotAllowed, TimedOut
from gateway.events import Command, Delete, Outcome, State, Write
from gateway.model import GATEWAY, DeviceId, Path
from gateway.policy import DeviceRule
from tests.coap.peers import Served, coap_client
from tests.fakes import METER, STATION, HubBench, ScriptedSouth
from tests.vectors import LWM2M

VECTORS = {v["id"]: v for v in LWM2M}
JSON, CBOR = Format.SENML_JSON, Format.SENML_CBOR
ON, LEVEL = Path(3311, 0, 5850), Path(3311, 0, 5851)
MODE = Path(3308, 0, 5900)
OFFSET = Path(3, 0, 14)


GOOD = b'{"n":"/light/3311/0/5851","v":50}'
SWITCH = b'{"n":"/light/3311/0/5850","vb":true}'
HEAT = b'{"n":"/weather/3308/0/5900","v":18}'
BOTH = b"[" + GOOD + b"," + HEAT + b"]"
CBOR_PACK = cbor2.dumps([{0: "/light/3311/0/5850", 4: True}, {0: "/weather/3308/0/5900", 2: 18}])


class House(ScriptedSouth):
    """Devices that take what is written, but for those that fail."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: dict[DeviceId, list[CommandError | Outcome | None]] = {}

    async def execute(self, command: Command) -> Outcome:
        self.commands.append(command)
        answers = self.fails.get(command.device)
        answer = answers.pop(0) if answers else None
        if isinstance(answer, CommandError):
            raise answer
        return answer or Outcome(confirmed=True)


@pytest.fixture
def house(home: HubBench) -> House:
    house = House()
    owners: dict[str, Any] = home.hub.commander.owners
    owners["ble"] = house
    home.rules(
        station=DeviceRule(listed=True, writable=True), meter=DeviceRule(listed=True, writable=True)
    )
    home.say({MODE: 21.0}, STATION)
    home.say({OFFSET: "+00:00"}, GATEWAY)
    return house


@pytest.fixture
def server(home: HubBench, house: House) -> Server:
    return Server(home.north)


async def patch(
    server: Server, payload: bytes, form: Format | None = JSON, **more: Any
) -> Response:
    request = Request(Code.IPATCH, (), content_format=form, payload=payload, **more)
    return await server.command(request)


LIGHTS = "/light/3311/0/5850", "/light/3311/1/5850", "/light/3311/2/5851", "/weather/3308/0/5900"


async def test_two_lights_a_dimmer_and_a_thermostat_are_one_request(
    server: Server, home: HubBench, house: House
) -> None:
    home.say({Path(3311, 1, 5850): True, Path(3311, 2, 5851): 80}, METER)
    pack = [
        {"n": LIGHTS[0], "vb": False},
        {"n": LIGHTS[1], "vb": False},
        {"n": LIGHTS[2], "v": 20},
        {"n": LIGHTS[3], "v": 18},
    ]
    assert (await patch(server, json.dumps(pack).encode())).code == Code.CHANGED
    assert house.commands == [
        Write(
            METER,
            {ON: False, Path(3311, 1, 5850): False, Path(3311, 2, 5851): 20},
            "coap ",
        ),
        Write(STATION, {MODE: 18.0}, "coap "),
    ]
    assert isinstance(house.commands[1], Write)
    assert type(house.commands[1].values[MODE]) is float


async def test_a_timer_is_set_by_its_parameters_and_then_started(
    server: Server, home: HubBench, house: House
) -> None:
    home.say({Path(3340, 0, 5525): 0.0}, METER)
    start = b'{"n":"/light/3340/0/5523","vs":""}'
    pack = b'[{"n":"/light/3340/0/5521","v":60},{"n":"/light/3340/0/5525","v":10}'
    assert (await patch(server, pack + b"," + start + b"]")).code == Code.METHOD_NOT_ALLOWED
    assert house.commands == []
    assert (await patch(server, pack + b"]")).code == Code.CHANGED
    execute = Request(Code.POST, ("light", "3340", "0", "5523"))
    assert (await server.command(execute)).code == Code.CHANGED
    assert len(house.commands) == 2


@pytest.mark.parametrize(
    ("form", "payload"),
    [
        (Format.SENML_JSON, b"[" + SWITCH + b"," + HEAT + b"]"),
        (Format.ETCH_JSON, b"[" + SWITCH + b',{"bn":"/weather/3308/0/","n":"5900","v":18}]'),
        (Format.SENML_CBOR, CBOR_PACK),
        (Format.ETCH_CBOR, CBOR_PACK),
        (
            Format.LWM2M_CBOR,
            cbor2.dumps({("light", 3311, 0, 5850): True, ("weather", 3308): {0: {5900: 18}}}),
        ),
    ],
)
async def test_a_composite_is_written_in_each_format(
    server: Server, house: House, form: Format, payload: bytes
) -> None:
    assert (await patch(server, payload, form)).code == Code.CHANGED
    assert house.commands == [
        Write(METER, {ON: True}, "coap "), Write(STATION, {MODE: 18.0}, "coap ")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (b'{"n":"/light/3311/0/5850","vb":1}', Code.BAD_REQUEST),
        (b'{"n":"/light/3311/0/5850","v":1}', Code.BAD_REQUEST),
        (b'{"n":"/light/3311/0/5850","vb":true,"t":5}', Code.BAD_REQUEST),
        (b'{"n":"/light/3311/0/5850"}', Code.BAD_REQUEST),
        (b'{"n":"/light/3311/0","vb":true}', Code.BAD_REQUEST),
        (b'{"n":"/light","vb":true}', Code.BAD_REQUEST),
        (b'{"n":"/light/3311/0/5851","v":51}', Code.BAD_REQUEST),
        (b'{"n":"/weather/3308/0/5900","vs":"18"}', Code.BAD_REQUEST),
        (b'{"n":"/weather/3303/0/5700","v":1}', Code.METHOD_NOT_ALLOWED),
        (b'{"n":"/light/3340/0/5523","vs":""}', Code.METHOD_NOT_ALLOWED),
        (b'{"n":"/3/0/0","vs":"mine"}', Code.METHOD_NOT_ALLOWED),
        (b'{"n":"/3/0/14","vs":"+01:00"}', Code.METHOD_NOT_ALLOWED),
        (b'{"n":"/light/3311/7/5850","vb":true}', Code.NOT_FOUND),
        (b'{"n":"/light/3311/0/5706","vs":"red"}', Code.NOT_FOUND),
        (b'{"n":"/nobody/3311/0/5850","vb":true}', Code.NOT_FOUND),
        (b'{"n":"/3311/0/5850","vb":true}', Code.NOT_FOUND),
        (b'{"n":"/0/0/0","vs":"coap://x"}', Code.UNAUTHORIZED),
    ],
)
async def test_one_record_that_cannot_be_written_refuses_all(
    server: Server, house: House, record: bytes, code: Code
) -> None:
    assert (await patch(server, b"[" + GOOD + b"," + record + b"]")).code == code
    assert (await patch(server, b"[" + record + b"," + GOOD + b"]")).code == code
    assert house.commands == []


@pytest.mark.parametrize(
    ("form", "payload", "more", "code"),
    [
        (JSON, b"[]", {}, Code.BAD_REQUEST),
        (JSON, b"", {}, Code.BAD_REQUEST),
        (Format.ETCH_JSON, b'[{"n":"/weather/3/0/11/1","v":null}]', {}, Code.METHOD_NOT_ALLOWED),
        (Format.ETCH_JSON, b'[{"n":"/light/3311/0/5850","v":null}]', {}, Code.METHOD_NOT_ALLOWED),
        (
            Format.ETCH_CBOR,
            bytes.fromhex(VECTORS["etch-lwm2m-delete-instance"]["hex"]),
            {},
            Code.NOT_FOUND,
        ),
        (Format.LWM2M_CBOR, b"\xa0", {}, Code.BAD_REQUEST),
        (None, b"[" + GOOD + b"]", {}, Code.BAD_REQUEST),
        (Format.TLV, b"", {}, Code.UNSUPPORTED_CONTENT_FORMAT),
        (JSON, b"[" + GOOD + b"]", {"secure": False}, Code.FORBIDDEN),
        (JSON, b"[" + GOOD + b"]", {"query": ("x",)}, Code.BAD_REQUEST),
        (JSON, b"[" + GOOD + b"]", {"if_none_match": True}, Code.PRECONDITION_FAILED),
    ],
)
async def test_a_write_composite_that_cannot_be_is_refused(
    server: Server, house: House, form: Format | None, payload: bytes, more: Any, code: Code
) -> None:
    assert (await patch(server, payload, form, **more)).code == code
    assert house.commands == []


TEXTS = {Path(3349, 0, 5912, 0): "a", Path(3349, 0, 5912, 1): "b"}
SHORTER = (
    b'[{"n":"/light/3349/0/5912/0","vs":"z"},{"n":"/light/3349/0/5912/1","v":null},'
    b'{"n":"/weather/3308/0/5900","v":18}]'
)


async def test_a_patch_deletes_elements_of_an_array_and_gives_them_back(
    server: Server, home: HubBench, house: House
) -> None:
    home.say(TEXTS, METER)
    assert (await patch(server, SHORTER, Format.ETCH_JSON)).code == Code.CHANGED
    first, second = TEXTS
    of_light = [command for command in house.commands if command.device == METER]
    assert of_light == [
        Delete(METER, second, "coap "),
        Write(METER, {first: "z"}, "coap "),
    ]
    house.commands.clear()
    house.fails[STATION] = [TimedOut("no answer")]
    assert (await patch(server, SHORTER, Format.ETCH_JSON)).code == Code.GATEWAY_TIMEOUT
    assert Write(METER, TEXTS, "coap  (taken back)") in house.commands


async def test_nothing_is_written_where_a_device_does_not_delete(
    server: Server, home: HubBench, house: House
) -> None:
    home.say(TEXTS, METER)
    house.fails[METER] = [NotAllowed("it has no such operation")]
    assert (await patch(server, SHORTER, Format.ETCH_JSON)).code == Code.GATEWAY_TIMEOUT
    assert [type(command) for command in house.commands] == [Delete]


async def test_nothing_is_written_where_one_device_is_not_enabled(
    server: Server, home: HubBench, house: House
) -> None:
    home.rules(meter=DeviceRule(listed=True, writable=True), station=DeviceRule(listed=True))
    answer = await patch(server, BOTH)
    assert answer.code == Code.FORBIDDEN
    assert b"/weather/3308/0/5900" in answer.payload
    assert house.commands == []


@pytest.mark.parametrize(
    ("asleep", "code"), [(False, Code.GATEWAY_TIMEOUT), (True, Code.SERVICE_UNAVAILABLE)]
)
async def test_nothing_is_written_where_one_device_is_out_of_reach(
    server: Server, home: HubBench, house: House, asleep: bool, code: Code
) -> None:
    home.south.lost(STATION, "no beacons", asleep=asleep)
    answer = await patch(server, BOTH)
    assert answer.code == code
    assert (answer.max_age_s is not None) is asleep
    assert house.commands == []
    device = home.north.device("weather")
    assert device
    assert device.availability.state is (State.ASLEEP if asleep else State.OFFLINE)


@pytest.mark.parametrize("fault", [TimedOut("no answer"), Outcome(confirmed=False)])
async def test_when_one_device_fails_the_others_get_back_what_they_had(
    server: Server, house: House, fault: CommandError | Outcome
) -> None:
    house.fails[STATION] = [fault]
    answer = await patch(server, BOTH)
    assert answer.code == Code.GATEWAY_TIMEOUT
    assert answer.payload.startswith(b"weather")
    assert b"taken back" in answer.payload
    undone = house.commands[2:]
    assert Write(METER, {LEVEL: 20}, "coap  (taken back)") in undone
    # What was not confirmed may have happened; what failed has not.
    both = isinstance(fault, Outcome)
    assert (Write(STATION, {MODE: 21.0}, "coap  (taken back)") in undone) is both
    assert len(undone) == 1 + both


async def test_the_answer_names_who_could_not_be_restored(server: Server, house: House) -> None:
    house.fails = {STATION: [TimedOut("no answer")], METER: [None, TimedOut("no answer either")]}
    answer = await patch(server, BOTH)
    assert (answer.code, answer.payload) == (
        Code.GATEWAY_TIMEOUT, b"weather: no answer; what was written to light may stand"
    )  # fmt: skip


async def test_a_composite_in_blocks_is_put_together(server: Server, house: House) -> None:
    for number in range(0, len(BOTH), 32):
        block = Block(number // 32, more=number + 32 < len(BOTH), exponent=1)
        answer = await patch(server, BOTH[number : number + 32], block1=block)
        assert answer.code == (Code.CONTINUE if block.more else Code.CHANGED)
    assert len(house.commands) == 2


async def test_libcoap_patches(house: House, served: Served) -> None:
    patched = await coap_client(served.port, "/", "-m", "ipatch", "-t", "320", "-e", BOTH.decode())
    assert patched.err == ""
    assert len(house.commands) == 2
