"""The whole gateway for each file of tests here: so several are broken side by side."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.house import House, house


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[House]:
    clock_moves = getattr(request.module, "CLOCK_MOVES", False)
    async with house(tmp_path_factory.mktemp("house"), clock_moves=clock_moves) as made:
        yield made
