"""`border-gateway validate` against the gateway's own server, and against others."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Any

import cbor2
import pytest

from adapters.coap.datagram import Datagram, Type, decode, encode
from adapters.coap.messages import Code, Option
from tests.coap.peers import Served, content_format
from tests.deadlines import DEADLINE_S

NOT_DEFINED = """<LWM2M><Object ObjectType="MODefinition"><Name>Thing</Name>
<ObjectID>33000</ObjectID>
<ObjectURN>urn:oma:lwm2m:x:33000</ObjectURN><MultipleInstances>Multiple</MultipleInstances>
<Mandatory>Optional</Mandatory><Resources><Item ID="1"><Name>Level</Name>
<Operations>R</Operations><MultipleInstances>Single</MultipleInstances><Mandatory>Mandatory
</Mandatory><Type>Integer</Type><RangeEnumeration>0..9</RangeEnumeration><Units></Units></Item>
</Resources></Object></LWM2M>"""


Answers = dict[str, tuple[bytes, int] | int]


class Stranger(asyncio.DatagramProtocol):
    """A server with fixed answers by path, content or a code; 4.04 for all else."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, peer: Any) -> None:
        asked = decode(data)
        segments = [value.decode() for number, value in asked.options if number == Option.URI_PATH]
        found = self._answers.get("/".join(segments), Code.NOT_FOUND)
        if isinstance(found, int):
            answer = Datagram(Type.ACK, found, asked.mid, asked.token)
        else:
            options = (content_format(found[1]),)
            answer = Datagram(Type.ACK, Code.CONTENT, asked.mid, asked.token, options, found[0])
        self._transport.sendto(encode(answer), peer)


async def validate(*words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "validate", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(3 * DEADLINE_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def stranger(answers: Answers) -> AsyncIterator[str]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Stranger(answers), ("127.0.0.1", 0)
    )
    yield f"coap://127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    transport.close()


async def test_the_gateways_own_server_is_read_with_all_its_devices(served: Served) -> None:
    status, out, _ = await validate(f"coap://127.0.0.1:{served.port}", "--json")
    report = json.loads(out)
    assert (status, report["devices"]) == (1, 2)
    findings = {finding["path"]: finding for finding in report["findings"]}
    assert findings["/weather/3/0/4"] == {
        "path": "/weather/3/0/4",
        "kind": "missing",
        "text": "Reboot is mandatory",
    }
    assert {finding["kind"] for finding in report["findings"]} == {"missing"}


async def test_a_strangers_faults_are_told_with_their_places(tmp_path: FilePath) -> None:
    (tmp_path / "thing.xml").write_text(NOT_DEFINED)
    links = b'</3303>;ver=1.1,</3303/0/5700>,</3303/1>,</3303/2/5700>,</33000/0/1>;ct="0"'
    answers: Answers = {
        ".well-known/core": (links, 40),
        "3303/0/5700": (b"warm", 0),
        "3303/1": (b'[{"n":"/3303/0/5700","v":1}]', 110),
        "33000/0/1": (b"12", 0),
        "3303/2/5700": 0xA1,  # 5.01
    }
    async with stranger(answers) as uri:
        status, out, _ = await validate(uri, "--definitions", str(tmp_path))
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert status == 1
    assert "/3303/0/5700 wrong type: Sensor Value must be a float, not 'warm'" in lines
    assert "/3303/1 unreadable: /3303/0/5700 is not in /3303/1" in lines
    assert "/3303/2/5700 unreadable: Sensor Value cannot be read" in lines
    assert "/33000/0/1 out of range: Level must be 0 to 9, not 12" in lines
    assert lines[-1].startswith(f"{uri}: 0 devices, 4 instances")


SENSOR = {(3303, 0): {5700: 21.5, 5701: "Cel"}}
XML = b"""<sensml xmlns="urn:ietf:params:xml:ns:senml">
<senml n="/3303/0/5700" v="21.5"/><senml n="/3303/0/5701" vs="Cel"/></sensml>"""


@pytest.mark.parametrize(
    "answers",
    [
        {"3303/0": (cbor2.dumps(SENSOR), 11_544)},
        {
            "3303/0/5700": (cbor2.dumps({(3303, 0, 5700): 21.5}), 11_544),
            "3303/0/5701": (cbor2.dumps({(3303, 0, 5701): "Cel"}), 11_544),
        },
        {"3303/0/5700": (cbor2.dumps(21.5), 60), "3303/0/5701": (cbor2.dumps("Cel"), 60)},
        {"3303/0": (XML, 310)},
    ],
    ids=["an instance", "each in LwM2M CBOR", "each in CBOR", "XML"],
)
async def test_no_server_is_accused_for_the_format_it_chooses(answers: Answers) -> None:
    links = b"</3303>;ver=1.1,</3303/0/5700>,</3303/0/5701>"
    async with stranger({".well-known/core": (links, 40), **answers}) as uri:
        status, out, _ = await validate(uri)
    assert (status, out) == (0, f"{uri}: 0 devices, 1 instances, 2 resources: nothing wrong\n")


async def test_a_wrong_type_is_told_in_cbor_too_and_an_unknown_format_is_no_value() -> None:
    answers: Answers = {
        ".well-known/core": (b"</3303/0/5700>,</3303/1/5700>,</3303/2/5700>,</3303/3/5700>", 40),
        "3303/0/5700": (cbor2.dumps("warm"), 60),
        "3303/1": (cbor2.dumps({(3303, 1, 5700): "warm"}), 11_544),
        "3303/2/5700": (b"21.5", 50),
        "3303/3": (cbor2.dumps({(3303, 0, 5700): 21.5}), 11_544),
    }
    async with stranger(answers) as uri:
        _, out, _ = await validate(uri)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for number in (0, 1):
        wrong = f"/3303/{number}/5700 wrong type: Sensor Value must be a float, not 'warm'"
        assert wrong in lines
    assert "/3303/2/5700 unreadable: Sensor Value cannot be read" in lines
    assert "/3303/3 unreadable: /3303/0/5700 is not in /3303/3" in lines


async def test_a_server_without_objects_is_not_praised() -> None:
    async with stranger({".well-known/core": (b"</time>;ct=0", 40)}) as uri:
        status, out, _ = await validate(uri)
    assert status == 1
    assert "/  missing: no IPSO or LwM2M object is shown" in out


async def test_who_does_not_answer_or_cannot_be_asked_is_an_error_of_its_own() -> None:
    status, out, err = await validate("coap://127.0.0.1:9")
    assert (status, out) == (2, "")
    assert "Connection refused" in err
    status, _, err = await validate("127.0.0.1")
    assert status == 2
    assert "coap://" in err
    for broken in ("coap://[::1", "coap://127.0.0.1:99999"):
        status, out, err = await validate(broken)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert f"{broken!r} is no URI" in err
