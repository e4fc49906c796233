"""What the nodes of one gateway are called. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import GATEWAY, DeviceId, eui64

DIRECTORY = DeviceId("directory")
"""Stands for the directory where a device stands for its node. No device is called so."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes below `{root}/{gateway}`: no two gateways have one in common."""

    directory: str

    def of(self, owner: DeviceId) -> str:
        """The node of a device, of the gateway as one, or the directory."""
        return self.directory if owner == DIRECTORY else self.device(owner)

    def device(self, device: DeviceId) -> str:
        """The node of a device, or of the gateway as one."""
        return f"{self.directory}/{listed_as(device)}"

    def history(self, device: DeviceId) -> str:
        """The node of a device's changes that came too late to be live values."""
        return history_of(self.device(device))

    @property
    def alerts(self) -> str:
        """The node of all devices' events."""
        return f"{self.directory}/alerts"


def listed_as(device: DeviceId) -> str:
    """The id of a device's item in the directory, and the last part of its node."""
    return GATEWAY if device == GATEWAY else eui64(device)


def history_of(node: str) -> str:
    """The history that belongs to a device's node."""
    return f"{node}/history"
