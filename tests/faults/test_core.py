"""Disk, database or clock fail: it is told with its reason everywhere an operator looks, all
else goes on meanwhile, and it heals when the cause is gone.
"""

import os
import resource

import pytest

from tests.faults.house import House

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLOCK_MOVES = True


async def test_a_disk_that_is_full(running: House) -> None:
    assert running.process
    async with running.others_answer():
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

        await running.says("state", "degraded", "not saved")
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, unlimited)
        await running.is_well()
        await running.logs("saved again")


async def test_a_disk_that_is_full_at_the_start(running: House) -> None:
    await running.stop()
    await running.start("prlimit", "--fsize=0:unlimited")
    for prefix in ("weather", "node", "attic"):
        await running.is_("online", prefix)
    async with running.others_answer():
        await running.says("state", "degraded", "not saved")
        assert running.process
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, unlimited)
        await running.is_well()


async def test_a_clock_that_jumps(running: House) -> None:
    async with running.others_answer():
        for offset, told in (("+30d", "+2592"), ("+0", "-2592")):
            before = (await running.device("attic"))["last_seen"]
            running.move_clock(offset)

            async def seen_anew(before: float = before) -> bool:
                return bool(abs((await running.device("attic"))["last_seen"] - before) > 1000)

            await running.until(seen_anew, f"a reading with the new time {offset}")
            for prefix in ("attic", "weather", "node"):
                assert (await running.device(prefix))["state"] == "online"
            await running.logs(f"the clock jumped by {told}")
            await running.is_well()


async def test_a_database_that_is_damaged_on_a_full_disk(running: House) -> None:
    async def is_spared() -> bool:
        return (running.folder / "state" / "state.db.spare").exists()

    await running.until(is_spared, "a spare is written")
    await running.kill()
    database = running.folder / "state" / "state.db"
    for file in (database, database.with_name("state.db-wal")):
        file.write_bytes(os.urandom(file.stat().st_size))
    await running.start("prlimit", "--fsize=0:unlimited")
    for prefix in ("weather", "node", "attic"):
        await running.is_("online", prefix)
    await running.logs("is damaged")
    async with running.others_answer():
        await running.says("state", "degraded", "not saved")
        assert running.process
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, unlimited)
        await running.says("state", "degraded", "set aside as")
        aside = next(database.parent.glob("state.damaged-*[0-9]"))
        await running.says("state", "degraded", f"set aside as {aside}")
        aside.rename(running.folder / "moved away")
        await running.is_well()
