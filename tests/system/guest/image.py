"""The guest's disk: a small Debian with the package installed, and a shell on a serial port."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

PACKAGES = (
    "bluez dbus initramfs-tools iproute2 kmod linux-image-amd64 python3 systemd-sysv udev zstd"
)

# What a virtual machine never has; three quarters of the kernel's modules.
UNUSED = "gpu media infiniband iio net/ethernet net/wireless scsi"

# The initial RAM disk needs no more than to find the disk.
INITRD = (
    'mkdir -p "$1/etc/initramfs-tools/conf.d"; '
    r'printf "MODULES=list\nCOMPRESS=zstd\n" >"$1/etc/initramfs-tools/conf.d/guest"; '
    r'printf "virtio_pci\nvirtio_blk\next4\n" >"$1/etc/initramfs-tools/modules"'
)

FILES = {
    "etc/hostname": "guest\n",
    "etc/machine-id": "6c1e3a0c5f0b4d7e9a8f7c2d3b4a5e6f\n",
    "etc/fstab": "/dev/vda / ext4 noatime 0 1\n",
    "etc/modules-load.d/guest.conf": "hci_vhci\n",
    "etc/systemd/system/network.service": """\
[Unit]
Wants=sys-subsystem-net-devices-eth0.device
After=sys-subsystem-net-devices-eth0.device
Before=network-online.target
[Service]
Type=oneshot
ExecStart=ip address add 10.0.2.15/24 dev eth0
ExecStart=ip link set eth0 up
ExecStart=ip route add default via 10.0.2.2
[Install]
WantedBy=network-online.target
""",
    "etc/systemd/system/border-gateway.service.d/slow.conf": """\
[Service]
TimeoutStartSec=infinity
""",
    "etc/systemd/system/shell.service": """\
[Unit]
Description=A shell for the host
After=network-online.target
Wants=network-online.target
[Service]
StandardInput=tty-force
StandardOutput=tty
TTYPath=/dev/ttyS1
ExecStart=/bin/sh -c 'stty raw -echo; echo "the shell is up"; PS1= exec sh'
[Install]
WantedBy=multi-user.target
""",
}

MASKED = (
    "e2scrub_reap getty@tty1 serial-getty@ttyS0 systemd-binfmt systemd-hostnamed systemd-logind"
)
"""Nothing of the test needs them, and each costs seconds without KVM."""

DISK_MB = 1500


@dataclass(frozen=True, slots=True)
class Image:
    """What a machine starts from."""

    kernel: Path
    initrd: Path
    disk: Path


def build(folder: Path, package: Path, config: str) -> Image:
    """Makes the image in an empty folder."""
    root = folder / "root"
    subprocess.run(["cp", "--archive", _debian(), root], check=True)
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "opt/relay.py").write_text((HERE / "relay.py").read_text())
    (root / "var/log/journal").mkdir(exist_ok=True)  # kept over a power cut
    script = f"""
        dpkg --install /packages/{package.name}
        systemctl enable network shell
        systemctl mask {MASKED}
    """
    nspawn = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe")
    bound = f"--bind-ro={package.parent}:/packages"
    command = [*nspawn, bound, f"--directory={root}", "sh", "-ec", script]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    (root / "etc/border-gateway/gateway.toml").write_text(config)
    disk = folder / "disk"
    made = ["mke2fs", "-qF", "-t", "ext4", "-d", str(root), str(disk), f"{DISK_MB}M"]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    (kernel,) = root.glob("boot/vmlinuz-*")
    (initrd,) = root.glob("boot/initrd.img-*")
    return Image(kernel, initrd, disk)


def _debian() -> str:
    kernel = "/lib/modules/*/kernel"
    unused = [f"{kernel}/drivers/{name}/*" for name in UNUSED.split()] + [f"{kernel}/sound/*"]
    options = [f"--dpkgopt=path-exclude={path}" for path in unused]
    script = [f"{HERE.parent}/debian-root", "guest", ",".join(PACKAGES.split())]
    command = [*script, *options, f"--essential-hook={INITRD}"]
    return subprocess.check_output(command, text=True).strip()
