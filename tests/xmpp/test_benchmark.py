"""The benchmark still measures."""

import pytest

from benchmarks.xmpp import rates


async def test_the_mirror_is_compared_with_a_bare_publisher(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await rates(0.3, 1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["slixmpp", "gateway", "ratio"]
