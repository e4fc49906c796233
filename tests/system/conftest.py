"""The package, and machines that it is installed on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from tests.system.machine import Machine, booted

PROJECT = FilePath(__file__).parents[2]


@pytest.fixture(scope="session")
def packages() -> FilePath:
    """A folder with the package, newly built where the source is newer."""
    # Several test processes come here at a time.
    subprocess.run(["flock", "Makefile", "make", "--silent", "deb"], cwd=PROJECT, check=True)
    return PROJECT / "dist"


@pytest.fixture(scope="session")
def root(packages: FilePath) -> FilePath:
    """The folder of a Debian that can be booted."""
    if os.geteuid() != 0:
        assert "CI" not in os.environ, "the checks with systemd as PID 1 need root"
        pytest.skip("only root can boot a container with systemd as PID 1: sudo make test")
    told = subprocess.check_output(["make", "--silent", "container"], cwd=PROJECT, text=True)
    return FilePath(told.splitlines()[-1])


@pytest.fixture(scope="module")
def machine(root: FilePath, packages: FilePath) -> Iterator[Machine]:
    """A machine where the package has just been installed; the tests of a file share it."""
    with booted(root, packages) as machine:
        machine.shell("dpkg --install /packages/*.deb")
        yield machine
