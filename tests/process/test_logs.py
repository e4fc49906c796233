"""How much is logged, changed while the daemon runs."""

import logging
from collections.abc import Iterator

import pytest

import adapters.sim.adapter
from gateway.errors import NotFound
from gateway.logs import LONGEST_LINE, TAIL_LINES, Tail, modules, set_level, set_module_level
from tests.daemon import CORE, SIM, Daemon

SLIXMPP = logging.getLogger("slixmpp.xmlstream")


@pytest.fixture(autouse=True)
def _levels_as_before() -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in modules()}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def enabled(name: str) -> bool:
    return logging.getLogger(name).isEnabledFor(logging.DEBUG)


def test_one_module_can_say_more_than_the_others() -> None:
    set_level("info")
    assert set_module_level("debug", "hub") == "gateway.hub"
    assert enabled("gateway.hub")
    assert not enabled("gateway.control")


def test_an_adapter_is_named_as_its_section() -> None:
    set_level("info")
    assert set_module_level("debug", "sim") == adapters.sim.adapter.__package__ == "adapters.sim"
    assert enabled("adapters.sim.adapter")


def test_a_level_for_all_undoes_those_of_modules() -> None:
    set_module_level("debug", "gateway.hub")
    set_level("warning")
    assert not logging.getLogger("gateway.hub").isEnabledFor(logging.INFO)


def test_what_a_library_logs_cannot_be_switched_on_since_it_may_hold_passwords() -> None:
    before = SLIXMPP.getEffectiveLevel()
    with pytest.raises(NotFound):
        set_module_level("debug", "slixmpp")
    set_level("debug")
    assert SLIXMPP.getEffectiveLevel() == before


def test_an_unknown_module_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="did you mean 'hub'"):
        set_module_level("debug", "hubb")


@pytest.fixture
def tail() -> Iterator[Tail]:
    tail = Tail()
    logging.getLogger("gateway.hub").addHandler(tail)
    yield tail
    logging.getLogger("gateway.hub").removeHandler(tail)


def test_a_line_that_a_library_formats_wrongly_ends_nobody(tail: Tail) -> None:
    tail.handle(logging.makeLogRecord({"msg": "%d devices", "args": ("many",)}))
    assert [line.text for line in tail.since(0)] == ["%d devices"]


def test_the_end_of_the_log_is_kept_as_printable_lines_that_do_not_grow(tail: Tail) -> None:
    hub = logging.getLogger("gateway.hub")
    hub.warning("two\nlines, \x1b[31mred\x00 %s", "x" * 1_000)
    try:
        raise OSError(28, "No space left on device")
    except OSError:
        hub.exception("not saved")
    first, second = tail.since(0)
    assert (first.level, first.module, len(first.text)) == ("warning", "gateway.hub", LONGEST_LINE)
    assert first.text.startswith("two lines, ?[31mred? xx")
    assert second.text == "not saved (OSError: [Errno 28] No space left on device)"
    assert tail.since(first.number) == [second]
    for number in range(TAIL_LINES + 5):
        hub.info("%d", number)
    assert len(tail.since(0)) == TAIL_LINES


def test_the_running_daemon_logs_more_or_less_at_once(daemon: Daemon) -> None:
    done = daemon.command("log", "error")
    assert done.stdout == "everything logs at level error until the daemon ends\n"
    daemon.configure(CORE.replace("Attic", "Loft") + SIM)
    daemon.command("reload")  # what did not change there stays as it was set here
    wrong = daemon.command("log", "debug", "hubb")
    assert (wrong.returncode, "did you mean 'hub'?" in wrong.stderr) == (1, True)
    assert daemon.command("log", "loud").returncode == 2
    daemon.command("log", "info", "logs")
    log = daemon.end()[1]
    assert "reloaded" not in log
    assert "gateway.logs logs at level info" in log
