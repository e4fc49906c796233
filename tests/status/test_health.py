"""What monitoring asks: health of daemon and adapters, and metrics."""

import re
from pathlib import Path as FilePath

import pytest

from tests.daemon import CORE
from tests.status.conftest import STATUS, Page, served

BROKEN = (
    CORE
    + STATUS
    + """
[coap]
listen = ["192.0.2.1:5683"]
"""
)


def test_a_daemon_that_is_well_is_live_and_ready(page: Page) -> None:
    assert page.get("/healthz").status == 200
    assert page.get("/healthz/ready").json == {"state": "ready", "down": {}}
    assert page.get("/healthz/adapters/sim").json == {
        "name": "sim",
        "state": "running",
        "reason": "running with 2 virtual devices",
        "restarts": 0,
    }


def test_an_adapter_that_failed_is_told_with_its_reason_and_nothing_else_is(
    tmp_path: FilePath,
) -> None:
    with served(tmp_path, BROKEN) as page:
        page.daemon.until(lambda: page.get("/healthz/adapters/coap").json["restarts"])
        assert page.get("/healthz").status == 200
        assert page.get("/healthz/adapters").status == 503
        assert page.get("/healthz/adapters/sim").status == 200
        assert "192.0.2.1:5683" in page.get("/healthz/adapters/coap").json["reason"]
        ready = page.get("/healthz/ready")
        assert ready.status == 503
        assert list(ready.json["down"]) == ["coap"]


def test_an_adapter_that_is_not_there_is_not_found(page: Page) -> None:
    assert page.get("/healthz/adapters/knx").status == 404


@pytest.mark.parametrize(
    "line",
    [
        r'border_gateway_devices{state="online"} 1\.0',
        r'border_gateway_adapter_up{adapter="sim"} 1\.0',
        r'border_gateway_adapter_restarts_total{adapter="status"} 0\.0',
        r'border_gateway_outbox_events{adapter="status"} \d+\.0',
        r"border_gateway_strangers 1\.0",
        r"border_gateway_journal_unsaved \d+\.0",
        r"border_gateway_event_loop_lag_seconds \d.*",
        r"process_resident_memory_bytes \d.*",
    ],
)
def test_prometheus_reads(page: Page, line: str) -> None:
    scraped = page.get("/metrics")
    assert scraped.headers["Content-Type"].startswith("text/plain; version=")
    assert re.search(f"^{line}$", scraped.body.decode(), re.MULTILINE)


def test_no_label_names_a_device(page: Page) -> None:
    assert b"sim:0" not in page.get("/metrics").body
