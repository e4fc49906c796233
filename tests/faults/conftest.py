"""The whole gateway for each file of tests here: so several are broken side by side."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.house import House, house


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("house")) as made:
        yield made
