"""What the nodes of one gateway are called. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import GATEWAY, DeviceId, eui64


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes below `{root}/{gateway}`: no two gateways have one in common."""

    directory: str

    def of(self, owner: DeviceId) -> str:
        """The node of a device, or the directory, which is the gateway's."""
        return self.directory if owner == GATEWAY else self.device(owner)

    def device(self, device: DeviceId) -> str:
        """The node of a device."""
        return f"{self.directory}/{eui64(device)}"

    def history(self, device: DeviceId) -> str:
        """The node of a device's changes that came too late to be live values."""
        return history_of(self.device(device))

    @property
    def alerts(self) -> str:
        """The node of all devices' events."""
        return f"{self.directory}/alerts"


def history_of(node: str) -> str:
    """The history that belongs to a device's node."""
    return f"{node}/history"
