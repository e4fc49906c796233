"""A virtual stick, what is behind it, and who listens to the radio."""

from collections.abc import AsyncIterator

import pytest

from adapters.sim.rcp import VirtualRcp
from tests.lowpan.radio_bench import Air, Listener


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
async def rcp(air: Air) -> AsyncIterator[VirtualRcp]:
    async with VirtualRcp(air) as rcp:
        yield rcp
