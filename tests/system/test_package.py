"""The Debian package: installs, upgrades, and goes without a trace."""

import subprocess
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from tests.system.machine import UNIT, Machine, booted

CONFIG = "/etc/border-gateway/gateway.toml"

EDITED = """
[sim]
[[device]]
id = "sim:0000000000000001"
name = "Attic"
"""


@pytest.fixture(scope="module")
def versions(packages: FilePath, tmp_path_factory: pytest.TempPathFactory) -> FilePath:
    """A folder with the package as 1.deb, and as 2.deb a later one with another configuration."""
    (package,) = packages.glob("border-gateway_*.deb")
    folder = tmp_path_factory.mktemp("packages")
    (folder / "1.deb").write_bytes(package.read_bytes())
    content = folder / "content"
    subprocess.run(["dpkg-deb", "--raw-extract", package, content], check=True)
    control = content / "DEBIAN/control"
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 9:"))
    with (content / CONFIG.lstrip("/")).open("a") as config:
        config.write("# A later version knows more.\n")
    build: list[str | FilePath] = [
        "dpkg-deb",
        "-Znone",
        "--root-owner-group",
        "--build",
        content,
        folder / "2.deb",
    ]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture
def fresh(root: FilePath, versions: FilePath) -> Iterator[Machine]:
    """A machine without the gateway."""
    with booted(root, versions) as machine:
        yield machine


def _install(machine: Machine, package: str) -> None:
    machine.run("dpkg", "--install", "--force-confdef", "--force-confold", f"/packages/{package}")


def test_a_configuration_edited_by_hand_survives_the_upgrade(fresh: Machine) -> None:
    _install(fresh, "1.deb")
    assert fresh.show("ActiveState") == "active"
    assert fresh.run("systemctl", "is-enabled", UNIT) == "enabled"
    fresh.write(CONFIG, fresh.run("cat", CONFIG) + EDITED)
    fresh.run("systemctl", "reload", UNIT)
    assert fresh.gateway("devices")["devices"][0]["prefix"] == "d1"
    _install(fresh, "2.deb")
    assert fresh.run("cat", CONFIG).endswith(EDITED.rstrip())
    assert "knows more" in fresh.run("tail", "-1", f"{CONFIG}.dpkg-dist")
    (device,) = fresh.gateway("devices")["devices"]
    assert (device["prefix"], device["name"], device["state"]) == ("d1", "Attic", "online")


def test_an_untouched_configuration_is_renewed_and_a_disabled_unit_stays_so(fresh: Machine) -> None:
    _install(fresh, "1.deb")
    fresh.run("systemctl", "disable", "--now", UNIT)
    _install(fresh, "2.deb")
    assert "knows more" in fresh.run("tail", "-1", CONFIG)
    assert fresh.run("systemctl", "is-enabled", UNIT, check=False) == "disabled"
    assert fresh.show("ActiveState") == "inactive"


def test_removal_keeps_configuration_and_state_until_purged(fresh: Machine) -> None:
    before = _files(fresh)
    _install(fresh, "1.deb")
    fresh.shell("echo key >/etc/border-gateway/lowpan.key")
    fresh.run("dpkg", "--remove", "border-gateway")
    assert fresh.show("ActiveState") == "inactive"
    kept = {"/etc/border-gateway/gateway.toml", "/var/lib/border-gateway/state.db"}
    assert kept <= _files(fresh)
    fresh.run("dpkg", "--purge", "border-gateway")
    assert _files(fresh) - before == set()


def test_it_is_installed_where_no_systemd_runs(root: FilePath, versions: FilePath) -> None:
    command = ("systemd-nspawn", "--quiet", "--volatile=overlay", "--register=no", "--keep-unit")
    said = subprocess.check_output(
        [
            *(*command, "--console=pipe", "--directory", root, f"--bind-ro={versions}:/packages"),
            *("sh", "-ec", "dpkg --install /packages/1.deb; border-gateway check"),
        ],
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert "gateway.toml is valid" in said


def _files(machine: Machine) -> set[str]:
    """All of the machine's files, without what dpkg and systemd note for themselves."""
    kept = "/var/lib/dpkg /var/log /var/lib/systemd /var/cache /tmp"
    skipped = " -o ".join(f"-path '{folder}/*'" for folder in kept.split())
    found = machine.shell(f"find / -xdev \\( {skipped} \\) -prune -o ! -type d -print")
    # The user stays, and with it what knows of users, and its copy of before.
    users = {"/etc/.pwd.lock", *(f"/etc/{n}-" for n in ("passwd", "group", "shadow", "gshadow"))}
    return set(found.splitlines()) - users
