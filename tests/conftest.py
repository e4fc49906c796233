"""What every test gets: log lines that are really formatted, and a hub without a disk."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path as FilePath

import pytest
import uvloop
from hypothesis import settings

from tests.daemon import Daemon
from tests.fakes import Clock, HubBench

settings.register_profile("patient", deadline=None)  # no test is about time
settings.load_profile("patient")


LONGEST = ("tests/test_soak.py", "tests/faults/", "tests/system/test_package.py")
"""They wait more than they work, up to a minute: begun first, others run beside them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first; pytest-xdist needs --no-loadscope-reorder to keep it so."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """A test runs on asyncio's loop; one that is marked `uvloop`, on that of uvloop, too."""
    if item.get_closest_marker("uvloop"):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


class _Formatting(logging.Handler):
    """A wrong %s in a debug line fails the test that passes it."""

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()


@pytest.fixture(autouse=True)
def _format_every_log_record() -> Iterator[None]:
    handler = _Formatting()
    root = logging.getLogger()
    root.addHandler(handler)
    for ours in ("gateway", "adapters"):
        logging.getLogger(ours).setLevel(logging.DEBUG)
    yield
    root.removeHandler(handler)
    logging.disable(logging.NOTSET)  # which a command that was run in this process may have raised


@pytest.fixture
def clock() -> Clock:
    """Wall and monotonic time that stand still until told."""
    return Clock()


@pytest.fixture
def bench(clock: Clock) -> HubBench:
    """A hub with a few object definitions, in memory."""
    return HubBench(clock)


@pytest.fixture
def daemon(tmp_path: FilePath) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    daemon.start()
    yield daemon
    if daemon.process:
        daemon.end(signal.SIGKILL)
