"""The last hour of a value, as the page plots it."""

import time
from pathlib import Path as FilePath

from hypothesis import given
from hypothesis import strategies as st

from adapters.status.history import BUCKET_S, HOUR_S, thinned
from tests.daemon import CORE
from tests.status.conftest import ATTIC, STATUS, Page, served

PATH = f"/api/history/{ATTIC}?path=/3303/0/5700"

TIMES = st.floats(0, HOUR_S, allow_nan=False)
POINTS = st.lists(st.tuples(TIMES, st.floats(-1e6, 1e6))).map(sorted)


def test_the_last_hour_comes_from_the_journal(page: Page) -> None:
    points = page.daemon.until(lambda: page.get(PATH).json["points"])
    assert points == sorted(points)
    assert page.get(f"/api/history/{ATTIC}?path=/3303").status == 400
    assert page.get("/api/history/ble:x?path=/3303/0/5700").status == 404


def test_the_hour_goes_on_over_a_restart(tmp_path: FilePath) -> None:
    with served(tmp_path, CORE + STATUS) as before:
        before.daemon.until(lambda: before.get(PATH).json["points"])
        before.daemon.end()
        ended = time.time()
        before.daemon.start()
        after = Page(before.daemon)
        after.daemon.until(lambda: after.get(PATH).json["points"][-1][0] > ended)
        points = after.get(PATH).json["points"]
        assert points[0][0] < ended
        assert points == sorted(points)


@given(POINTS)
def test_a_plot_keeps_every_peak_and_no_more_than_two_points_a_bucket(
    points: list[tuple[float, float]],
) -> None:
    kept = thinned(points)
    assert kept == sorted(kept, key=lambda p: p[0])
    assert set(kept) <= set(points)
    assert len(kept) <= 2 * (HOUR_S / BUCKET_S + 1)
    if points:
        assert max(v for _, v in kept) == max(v for _, v in points)
        assert min(v for _, v in kept) == min(v for _, v in points)
