"""Packets that wait until it is known whose their destination is (RFC 4861 7.2.2)."""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.ipv6.packet import Packet

MAX_SOLICITATIONS = 3
RETRANSMISSION_S = 1.0
"""RFC 4861 10."""
HOLD_DOWN_S = 10.0
"""After a failure nobody is asked again for so long: each question is a broadcast."""
MAX_WAITING, MAX_WAITING_IN_ALL = 8, 64
"""Packets for one address, and addresses: a node gets one request at a time."""


@dataclass(slots=True)
class _Question:
    deadline: float
    asked: int = 1
    packets: list[Packet] = field(default_factory=list)


class Resolution:
    """Addresses that were asked for, and what waits for the answers."""

    def __init__(self) -> None:
        self._questions: dict[bytes, _Question] = {}

    def __len__(self) -> int:
        return len(self._questions)

    def __contains__(self, address: bytes) -> bool:
        return address in self._questions

    def wait(self, packet: Packet, now: float) -> bool:
        """Keeps a packet; True if its destination has to be asked for. Raises Dropped."""
        question = self._questions.get(packet.destination)
        if question is not None and question.asked > MAX_SOLICITATIONS:
            raise Dropped(Drop.UNRESOLVED)
        if question is None:
            if len(self._questions) >= MAX_WAITING_IN_ALL:
                raise Dropped(Drop.RESOLUTIONS_FULL)
            self._questions[packet.destination] = _Question(
                now + RETRANSMISSION_S, packets=[packet]
            )
            return True
        if len(question.packets) >= MAX_WAITING:
            raise Dropped(Drop.RESOLUTIONS_FULL)
        question.packets.append(packet)
        return False

    def resolved(self, address: bytes) -> list[Packet]:
        """The packets that waited for an address that is known now."""
        question = self._questions.pop(address, None)
        return question.packets if question else []

    def expire(self, now: float) -> tuple[list[bytes], list[Packet]]:
        """The addresses to ask for again, and the packets that nobody will take."""
        again: list[bytes] = []
        lost: list[Packet] = []
        for address, question in list(self._questions.items()):
            if question.deadline > now:
                continue
            question.asked += 1
            question.deadline = now + RETRANSMISSION_S
            if question.asked <= MAX_SOLICITATIONS:
                again.append(address)
            elif question.packets:
                lost += question.packets
                question.packets = []
                question.deadline = now + HOLD_DOWN_S
            else:
                del self._questions[address]
        return again, lost

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        return min((question.deadline for question in self._questions.values()), default=None)
