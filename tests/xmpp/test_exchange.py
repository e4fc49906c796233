"""Requests and their answers over a line that a test holds in its hand."""

import asyncio
import xml.etree.ElementTree as ET

import pytest

from adapters.xmpp.errors import NoAnswer, SessionLost, StanzaError
from adapters.xmpp.exchange import Exchange
from adapters.xmpp.stanzas import CLIENT

OWN = "gateway@localhost/gateway"
SERVICE = "pubsub.localhost"
LONG_S = 60.0


class Line:
    """Where an exchange writes; answers what it is told to."""

    def __init__(self, *, signed: bool = False) -> None:
        self.writes: list[str] = []
        self.exchange = Exchange(self.writes.append, lambda: OWN, signed=signed)

    def ask(self, to: str | None = SERVICE, timeout_s: float = LONG_S) -> "asyncio.Task[object]":
        return asyncio.create_task(self.exchange.ask("set", to, "<x/>", timeout_s))

    async def requests(self, count: int) -> list[ET.Element]:
        """What went out in one piece; that it went is the loop's next turns' doing."""
        for _ in range(10):
            await asyncio.sleep(0)
        (text,) = self.writes
        self.writes.clear()
        sent = list(ET.fromstring(f"<stream xmlns='{CLIENT}'>{text}</stream>"))
        assert len(sent) == count
        return sent

    def answer(
        self, request: ET.Element, sender: str = SERVICE, type: str = "result", inside: str = ""
    ) -> bool:
        text = f"<iq xmlns='{CLIENT}' type='{type}' from='{sender}' id='{request.get('id')}'>"
        return self.exchange.take(ET.fromstring(f"{text}{inside}</iq>"))


def tag(answer: object) -> str | None:
    return answer.tag if isinstance(answer, ET.Element) else None


async def test_requests_of_one_moment_go_out_in_one_piece_and_in_order() -> None:
    line = Line()
    asked = [line.ask(f"s{n}.localhost") for n in range(8)]
    line.exchange.send("<presence/>")
    *sent, last = reversed(await line.requests(9))
    assert last.tag == f"{{{CLIENT}}}presence"
    assert [r.get("to") for r in reversed(sent)] == [f"s{n}.localhost" for n in range(8)]
    assert len({r.get("id") for r in sent}) == 8
    for task in asked:
        task.cancel()


async def test_answers_that_come_out_of_order_reach_who_asked() -> None:
    line = Line()
    asked = [line.ask() for _ in range(3)]
    sent = await line.requests(3)
    for number in (2, 0, 1):
        assert line.answer(sent[number], inside=f"<y xmlns='urn:{number}'/>")
    assert [tag(await task) for task in asked] == ["{urn:0}y", "{urn:1}y", "{urn:2}y"]


async def test_an_answer_without_content_is_one() -> None:
    line = Line()
    asked = line.ask()
    (sent,) = await line.requests(1)
    assert line.answer(sent)
    assert await asked is None


async def test_a_refusal_says_why() -> None:
    line = Line()
    asked = line.ask()
    (sent,) = await line.requests(1)
    stanzas = "urn:ietf:params:xml:ns:xmpp-stanzas"
    why = f"<error type='auth'><forbidden xmlns='{stanzas}'/></error>"
    assert line.answer(sent, type="error", inside=why)
    with pytest.raises(StanzaError) as refused:
        await asked
    assert (refused.value.condition, refused.value.type) == ("forbidden", "auth")


async def test_an_answer_that_nobody_waits_for_is_left_alone() -> None:
    line = Line()
    asked = line.ask()
    (sent,) = await line.requests(1)
    assert not line.answer(ET.Element("iq", {"id": "unknown"}))
    assert not line.exchange.take(ET.Element(f"{{{CLIENT}}}iq", {"type": "result"}))
    message = {"type": "error", "id": sent.get("id", ""), "from": SERVICE}
    assert not line.exchange.take(ET.Element(f"{{{CLIENT}}}message", message))
    assert not line.answer(sent, type="get")
    assert line.answer(sent)
    await asked
    assert not line.answer(sent)  # a second time


async def test_only_who_was_asked_may_answer() -> None:
    line = Line()
    asked = line.ask("op@example.org/phone")
    (sent,) = await line.requests(1)
    for stranger in ("eve@example.org", "eve@example.org/phone", "phone", "example.com"):
        assert not line.answer(sent, stranger)
    assert not asked.done()
    assert line.answer(sent, "example.org")  # the server answers for whom it cannot reach
    await asked


@pytest.mark.parametrize("sender", ["", OWN, "gateway@localhost", "localhost"])
async def test_the_own_server_answers_for_the_own_account(sender: str) -> None:
    line = Line()
    asked = line.ask(None)
    (sent,) = await line.requests(1)
    assert sent.get("to") is None
    assert line.answer(sent, sender)
    await asked


async def test_an_answer_that_does_not_come_is_told_and_one_that_is_late_ignored() -> None:
    line = Line()
    asked = line.ask(timeout_s=0.01)
    (sent,) = await line.requests(1)
    with pytest.raises(NoAnswer, match=r"pubsub\.localhost did not answer within 0\.01 s"):
        await asked
    assert not line.answer(sent)


async def test_all_who_wait_are_told_of_the_end_of_the_session_and_nothing_goes_out_any_more() -> (
    None
):
    line = Line()
    asked = [line.ask() for _ in range(3)]
    await line.requests(3)
    line.exchange.send("<presence/>")
    line.exchange.lost("cut")
    for task in asked:
        with pytest.raises(SessionLost, match="cut"):
            await task
    assert line.writes == []


async def test_a_component_says_who_asks() -> None:
    line = Line(signed=True)
    asked = line.ask()
    (sent,) = await line.requests(1)
    assert sent.get("from") == OWN
    asked.cancel()
