"""What an emulated router is made of: kernel, initial RAM disk, root file system.

Debian's kernel for QEMU's malta board; the root is an ext4 image that `build_image`
makes of a folder, and its first program a script that mounts, sets the network up and
then runs the shell that vm_machine.py talks to.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from userland import Userland

KERNEL_PACKAGE, BUSYBOX_PACKAGE = "linux-image-4kc-malta", "busybox-static"
# For the initial RAM disk: what reaches the root file system, and the USB disk that may
# lie over it.
EARLY = (
    *("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "ext4"),
    *("crc32c_generic", "overlay", "ehci-pci", "usb-storage", "sd_mod"),
)
# Loaded later, by what needs them.
LATE = ("vfat", "nls_cp437", "nls_iso8859-1", "nls_utf8")
INIT = """#!/bin/sh
# The kernel passes address and extroot_s of its command line on as variables.
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
while read -r module; do $B insmod "/modules/$module"; done < /modules/order
wait_for() { # DEVICE TENTHS
	tries=0
	while [ ! -b "$1" ] && [ $tries -lt "$2" ]; do
		$B usleep 100000; tries=$((tries + 1))
	done
}
wait_for /dev/vda 300
$B mount -t ext4 -o noatime /dev/vda /flash || exec $B sh
root=/flash
# As OpenWrt's extroot: the disk's first partition over the flash, if it comes in time.
if [ -n "$extroot_s" ]; then
	wait_for /dev/sda1 $((extroot_s * 10))
	if $B mount -t ext4 -o noatime /dev/sda1 /extroot; then
		$B mkdir -p /extroot/upper /extroot/work
		$B mount -t overlay -o \
			lowerdir=/flash,upperdir=/extroot/upper,workdir=/extroot/work \\
			overlay /both &&
			root=/both
		$B mount --move /flash /both/rom
		$B mount --move /extroot /both/overlay
	fi
fi
for place in proc sys dev; do $B mount --move /$place $root/$place; done
exec $B switch_root $root /etc/rc.machine
"""
RC = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t tmpfs tmp /tmp
mkdir -p /dev/pts /var/run /var/lock /var/log
mount -t devpts pts /dev/pts
ip link set lo up
ip addr add "$address/24" dev eth0; ip link set eth0 up
ip route add default via "${address%.*}.2"
hostname router; dmesg -n 3
# Interrupts 10 and 11, which the PCI cards share, by level: a boot loader would set it
# (PIIX4's register at 0x4d1). By edge, one that comes while the other card's is
# pending is lost, and then all that come after it.
printf '\\014' | dd of=/dev/port bs=1 seek=1233 conv=notrunc 2> /dev/null
# Else this kernel, once its memory was in pieces, keeps ten of its 49 MB unused, and
# reads files again and again instead.
echo 0 > /proc/sys/vm/watermark_boost_factor
setsid /etc/disks.machine < /dev/null > /dev/null 2>&1 &
for script in /etc/rc.d/S??*; do
	[ ! -x "$script" ] || "/etc/init.d/${script##*/S??}" start
done
exec 3<> "$(ls /dev/vport*p1)"
echo "READY after $(cut -d' ' -f1 /proc/uptime)" >&3
while :; do setsid sh <&3 >&3 2>&3; done
"""
DISKS = """#!/bin/sh
# A stand-in for OpenWrt's hotplug of disks: what comes is mounted, and let go when it
# has gone.
hotplug() {
	for script in /etc/hotplug.d/block/*; do [ ! -e "$script" ] || (. "$script"); done
}
mounted=
while sleep 1; do
	now=$(block info)
	[ "$now" != "$mounted" ] || continue
	if [ -n "$mounted" ]; then
		block umount -l
		ACTION=remove hotplug
	fi
	mounted=
	if [ -n "$now" ] && block mount; then
		mounted=$now
		ACTION=add hotplug
	fi
done
"""
BLOCK = """#!/bin/sh
# A stand-in for OpenWrt's program of this name: of the USB disk the second partition,
# or else the whole disk, at /mnt/disk, by the options that /etc/config/fstab has.
disk=
for one in /sys/block/sd?; do [ ! -e "$one" ] || disk=/dev/${one##*/}; done
[ -z "$disk" ] || [ ! -b "${disk}2" ] || disk=${disk}2
case $1 in
info) echo "$disk" ;;
umount) umount $2 /mnt/disk ;;
mount)
	options=$(uci -q get fstab.@mount[0].options)
	mount -t ext4 -o noatime "$disk" /mnt/disk 2> /dev/null || {
		busybox modprobe -a LATE_MODULES
		# Unless told otherwise OpenWrt's kernel takes names for Latin-1, Debian's for
		# UTF-8.
		mount -t vfat -o "noatime,iocharset=iso8859-1,utf8=0${options:+,$options}" \\
			"$disk" /mnt/disk
	} ;;
esac
"""
FSTAB = """config mount
	option target '/mnt/disk'
	option enabled '1'
"""


class MachineFailed(Exception):
    """The machine did not do what it was told; the text has what it said."""


def build_image(userland: Userland, root: Path, out: Path, size_mb: int) -> None:
    """Make kernel, initial RAM disk and root image in *out* of the folder *root*.

    *root* is given the kernel's late modules and the first script that runs.
    """
    out.mkdir(parents=True, exist_ok=True)
    kernel, busybox = _unpack_kernel(userland, out)
    version = next((kernel / "lib/modules").iterdir()).name
    subprocess.run(["depmod", "-b", str(kernel), version], check=True)
    early = [path for name in EARLY for path in _modules(kernel, version, name)]
    _write_initrd(out, busybox, list(dict.fromkeys(early)))
    for name in LATE:
        for path in _modules(kernel, version, name):
            into = root / path.relative_to(kernel)
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, into)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(
            kernel / "lib/modules" / version / name, root / "lib/modules" / version
        )
    subprocess.run(["depmod", "-b", str(root), version], check=True)
    _write(root / "etc" / "rc.machine", RC)
    _write(root / "etc" / "disks.machine", DISKS)
    block = BLOCK.replace("LATE_MODULES", " ".join(LATE))
    _write(root / "usr" / "sbin" / "block", block)
    (root / "etc" / "config" / "fstab").write_text(FSTAB)
    shutil.copy(kernel / "boot" / f"vmlinuz-{version}", out / "vmlinuz")
    write_image(root, out / "root.ext4", size_mb)


def write_image(root: Path, image: Path, size_mb: int) -> None:
    """Make *image* of the folder *root*."""
    image.unlink(missing_ok=True)
    subprocess.run(
        [
            *("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-N", "20000"),
            *("-O", "^has_journal,^metadata_csum", "-d", str(root)),
            *(str(image), f"{size_mb}M"),
        ],
        check=True,
    )


def _unpack_kernel(userland: Userland, out: Path) -> tuple[Path, Path]:
    """Return the folders with the kernel's package and a static busybox, unpacked."""
    kernel, busybox = out / "kernel", out / "busybox"
    if not (kernel.exists() and busybox.exists()):
        environment = userland.apt_environment
        shown = subprocess.run(
            ["apt-cache", "depends", KERNEL_PACKAGE],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        named = re.search(r"Depends: (linux-image-\d\S*)", shown.stdout)
        if named is None:
            raise MachineFailed(f"Debian has no {KERNEL_PACKAGE} any more")
        with tempfile.TemporaryDirectory(dir=out) as work:
            command = ["apt-get", "-qq", "download", named[1], BUSYBOX_PACKAGE]
            subprocess.run(command, cwd=work, env=environment, check=True)
            for file in Path(work).glob("*.deb"):
                into = busybox if file.name.startswith(BUSYBOX_PACKAGE) else kernel
                subprocess.run(["dpkg-deb", "-x", str(file), str(into)], check=True)
    return kernel, busybox


def _modules(kernel: Path, version: str, name: str) -> list[Path]:
    """Return the module's file and those it needs, these first."""
    shown = subprocess.run(
        ["modprobe", "-d", str(kernel), "-S", version, "--show-depends", name],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split() for line in shown.stdout.splitlines()]
    return [Path(words[1]) for words in lines if words[0] == "insmod"]


def _write_initrd(out: Path, busybox: Path, modules: list[Path]) -> None:
    with tempfile.TemporaryDirectory(dir=out) as folder:
        tree = Path(folder)
        for name in (
            "bin",
            "proc",
            "sys",
            "dev",
            "flash",
            "extroot",
            "both",
            "modules",
        ):
            (tree / name).mkdir()
        shutil.copy(busybox / "bin" / "busybox", tree / "bin")
        (tree / "bin" / "sh").symlink_to("busybox")
        for path in modules:
            shutil.copy(path, tree / "modules")
        order = "".join(f"{path.name}\n" for path in modules)
        (tree / "modules" / "order").write_text(order)
        _write(tree / "init", INIT)
        command = "find . | cpio -o -H newc --quiet -R 0:0 | gzip -6"
        with (out / "initrd.gz").open("wb") as file:
            subprocess.run(command, shell=True, cwd=tree, stdout=file, check=True)


def _write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)
