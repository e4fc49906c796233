"""One bound UDP socket: datagrams in and out, and which peers are gone; not what they say."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator

from adapters.coap.messages import Peer
from gateway.configuration.listen import bind

BUFFER_OCTETS = 4 * 1024 * 1024
"""Asked of the kernel each way: the ACKs of 10,000 observers come back in one burst.

The default holds 256 small datagrams. The kernel gives less if net.core.rmem_max says so.
"""

_IP_PKTINFO = 8  # Linux numbers that the socket module lacks: ip(7), ipv6(7)
_IP_RECVERR = 11
_IP_MULTICAST_ALL = 49
_IPV6_MULTICAST_ALL = 29
_IPV6_RECVERR = 25
_MSG_ERRQUEUE = 0x2000

_ANCILLARY_OCTETS = 512
"""Room for the packet information and the extended error of one datagram."""

ALL_NODES, ALL_NODES_6 = "224.0.1.187", "ff02::fd"
"""The groups "All CoAP Nodes"; that of IPv6 on this link only."""

REMEMBERED = 20_000
"""Peers whose way back is kept on a wildcard address: twice the observers, 10 MB at most."""


class UdpSocket:
    """A bound socket that never blocks; OSError if the address cannot be had.

    On a wildcard address an answer leaves from the address that its peer's last datagram came
    to, so that the peer knows it again.
    """

    def __init__(self, host: str, port: int) -> None:
        address = ipaddress.ip_address(host)
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        self.host = host
        self.local = address.is_loopback
        self.family = family
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._set_up(family)
            bind(self._socket, host, port)
        except OSError:
            self._socket.close()
            raise
        self.receive: Callable[[int], tuple[bytes, Peer]] = self._socket.recvfrom
        self.send: Callable[[bytes, Peer], int] = self._socket.sendto
        self._ways_back: OrderedDict[Peer, list[tuple[int, int, bytes]]] = OrderedDict()
        if address.is_unspecified:
            self._ask_for_packet_information(family)
            self.receive, self.send = self._receive_message, self._send_message

    def _set_up(self, family: int) -> None:
        self._socket.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_OCTETS)
        _hear_only_what_was_joined(self._socket)
        if family == socket.AF_INET6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)

    def _ask_for_packet_information(self, family: int) -> None:
        if family == socket.AF_INET6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)

    def _receive_message(self, limit: int) -> tuple[bytes, Peer]:
        data, ancillary, _, peer = self._socket.recvmsg(limit, _ANCILLARY_OCTETS)
        self._ways_back[peer] = ancillary
        self._ways_back.move_to_end(peer)
        if len(self._ways_back) > REMEMBERED:
            self._ways_back.popitem(last=False)
        return data, peer

    def _send_message(self, data: bytes, peer: Peer) -> int:
        return self._socket.sendmsg([data], self._ways_back.get(peer, ()), 0, peer)

    def unreachable(self) -> Iterator[Peer]:
        """Whom the network reported as unreachable since the last call (ICMP)."""
        with contextlib.suppress(BlockingIOError):
            while True:
                yield self._socket.recvmsg(1, _ANCILLARY_OCTETS, _MSG_ERRQUEUE)[3]

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Lets sockets of groups have the same port, which the wildcard address claims for all."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            yield
        finally:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)

    @property
    def port(self) -> int:
        """The bound port."""
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def name(self) -> str:
        """The bound address as people write it."""
        return peer_name(self._socket.getsockname())

    def fileno(self) -> int:
        """The descriptor, for a reader of the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Gives the address back."""
        self._socket.close()


class GroupSocket:
    """Hears "All CoAP Nodes" (RFC 7252 12.8) on one interface; OSError if it cannot.

    It never sends: answers come from the `listener`, whose port it has.
    """

    def __init__(self, listener: UdpSocket, interface: int) -> None:
        self._socket = socket.socket(listener.family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with listener.shared():
                self._join(listener.port, interface)
        except OSError:
            self._socket.close()
            raise
        self.receive: Callable[[int], tuple[bytes, Peer]] = self._socket.recvfrom

    def _join(self, port: int, interface: int) -> None:
        _hear_only_what_was_joined(self._socket)
        if self._socket.family == socket.AF_INET6:
            self._socket.bind((ALL_NODES_6, port, 0, interface))
            group = socket.inet_pton(socket.AF_INET6, ALL_NODES_6) + struct.pack("@i", interface)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        else:
            self._socket.bind((ALL_NODES, port))
            group = socket.inet_aton(ALL_NODES) + struct.pack("@ii", 0, interface)
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)

    @property
    def name(self) -> str:
        """The group and port as people write them."""
        return peer_name(self._socket.getsockname())

    def fileno(self) -> int:
        """The descriptor, for a reader of the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Leaves the group."""
        self._socket.close()


def _hear_only_what_was_joined(bound: socket.socket) -> None:
    """Else Linux gives a socket what other programs, or other interfaces, asked for."""
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
    else:
        bound.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)


def is_loopback(peer: Peer) -> bool:
    """Whether a peer is on this machine, by an address that cannot be forged."""
    host: str = peer[0]
    return host == "::1" or host.startswith("127.")


def peer_name(peer: Peer) -> str:
    """A socket address as people write it: `[::1]:4711`."""
    host, port = peer[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
