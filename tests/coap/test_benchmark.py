"""The benchmark measures what it says: its load generator against the real daemon, briefly."""

import os
import sys
from collections.abc import Iterator

import pytest

from benchmarks.coap import report
from benchmarks.coap.__main__ import main
from benchmarks.coap.load import Figures, Load
from benchmarks.coap.servers import OURS, SERVERS, Running, running


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    return Load(tmp_path_factory.mktemp("load"))


@pytest.fixture(scope="module")
def gateway() -> Iterator[Running]:
    with running(OURS, 2) as to:
        yield to


def test_every_measurement_is_taken_and_shown(load: Load, gateway: Running) -> None:
    load.fill(OURS, gateway, 2)
    get = load.get(gateway, 2, 4, 0.1)
    told = load.observe(gateway, 3, 2, 5.0, confirmable=True, ours=True)
    some = load.conditional(gateway, 5, 2, 2, 5.0, ours=True)
    links = load.download(gateway, 0.1)
    assert (get["errors"], get["lost"]) == (0, 0)
    assert get["per_s"] > 0
    assert (told["accepted"], [change["reached"] for change in told["changes"]]) == (3, [3, 3])
    assert [(change["reached"], change["others"]) for change in some["changes"]] == [(2, 0)] * 2
    assert links["links"] > 30
    figures: dict[report.Key, Figures] = {
        ("get", 32, 1): get,
        ("observe", "CON", 3): told,
        ("conditional", 5, 2): some,
        ("download",): links,
        ("memory", 1): {"rss_kb": 1_000},
        ("memory", 1_000): {"rss_kb": 7_000},
    }
    table = report.text(
        {key: {server.name: [each] for server in SERVERS} for key, each in figures.items()}
    )
    assert "| CON, 3 | border-gateway |" in table
    assert "| 3 observers, CON: last after | ×1.00 | ×1.00 | ×1.00 |" in table
    assert "| GET/s at 32, to libcoap | ×1 | ×1.00 | yes |" in table
    assert "| GET/s at 32, to aiocoap | ×30 | ×1.00 | **no** |" in table


def test_without_a_peer_it_stops_with_the_reason_and_prints_no_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.coap", "--quick"])
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(SystemExit, match=r"cannot run: .*coap-server-notls"):
        main()
    assert not capsys.readouterr().out
