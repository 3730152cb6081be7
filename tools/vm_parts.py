"""The parts of `make vm`'s story. Each begins with a machine that is switched on.

A part ends by returning; what it holds against the machine raises MachineFailed.
"""

import contextlib
import ftplib
import hashlib
import io
import shlex
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack

import vm_fat
from vm_disks import new_disk, new_extroot_disk
from vm_feed import on_a_disk
from vm_image import MachineFailed
from vm_pressure import Others, refusal
from vm_router import GROUP, PATIENCE_S, Router, some_bytes
from vm_scan import Scanned
from vm_stage import Stage

DISK_MB, EXTROOT_MB, FILM_MB = 96, 64, 4
EXTROOT_S = 20  # how long a boot waits for the disk
FILM = "film.bin"
START_S_MAX = 8.0  # from `start` until it serves, on the router's CPU
CUT_AFTER_BYTES = 2 << 20  # of a file that comes while the power is cut
# What others leave: less than a login takes, and still so much that the agent's own
# code stays in memory. Below that a login is slow, and takes too long: another 421.
PRESSURE_KIB = 7936


def install(stage: Stage) -> None:
    """Install all that is needed, one package after another; keep the router's root."""
    image = stage.folder / "installing.ext4"
    shutil.copy(stage.folder / "bare.ext4", image)
    disk = on_a_disk(stage.folder / "bundle", stage.folder / "disk.bundle", DISK_MB)
    with stage.router(stage.plan(image, is_root_kept=True), disk) as router:
        router.until("grep -q /mnt/disk /proc/mounts")
        router.run("! [ -e /usr/bin/python3 ] && mkdir /usr/lib/opkg/work")
        before, room = router.uptime_s(), router.used_kib("/")
        least = "OPKG_WORK=/usr/lib/opkg/work least sh /mnt/disk/bundle/install.sh"
        free, most, said = router.run(least, PATIENCE_S).strip().split(" ", 2)
        took = router.uptime_s() - before
        if router.killed():
            raise MachineFailed("the kernel has killed something for want of memory")
        count = int(router.run("opkg list-installed | grep -vc '^libc '"))
        stage.tell(
            f"{count} packages, Python and all, {router.used_kib('/') - room:,} KiB "
            f"on the disk, installed and compiled in {took:.0f} s, nothing killed; "
            f"least memory free meanwhile {int(free):,} KiB, most taken "
            f"{int(most):,} KiB, at '{said}'",
            is_figure=True,
        )
        router.run("fonshare --version && mount -o remount,ro / || sync; sync")
    image.replace(stage.folder / "installed.ext4")


def share(stage: Stage) -> None:
    """Start the service; FTP from outside; a group with a friend, a file each way."""
    friend = stage.friend()
    disk = new_disk(stage.folder, "ext4", DISK_MB)
    with stage.router(stage.plan(stage.installed), disk) as router:
        router.until("grep -q /mnt/disk /proc/mounts")
        router.configure(stage.broker())
        start_s = _measured_start(stage, router)
        data = _use_ftp(stage, router)
        stage.meet(router, friend)
        stage.serve(router, friend, FILM, data)
        stage.fetch(router, friend)
        stage.tell(router.memory(), is_figure=True)
    if start_s > START_S_MAX:
        raise MachineFailed(f"a start is to take {START_S_MAX:.0f} s at most")


def _measured_start(stage: Stage, router: Router) -> float:
    """Tell how long a start takes: the first, which makes keys, and a later one.

    Return the seconds of the later one.
    """
    router.run("python3 -c pass")
    before = router.uptime_s()
    router.run("for n in 1 2 3 4 5; do python3 -c pass; done")
    python_s = (router.uptime_s() - before) / 5
    first = router.start()
    router.run("/etc/init.d/fonshare stop")
    emulated = router.emulated()
    again = router.start()
    emulated = router.emulated() - emulated
    for what, (all_s, agent_s) in (("first", first), ("next", again)):
        stage.tell(
            f"{what} start: up {agent_s:.1f} s after its process began "
            f"({agent_s / python_s:.0f} bare Pythons), {all_s:.1f} with init",
            is_figure=True,
        )
    if emulated:
        stage.tell(
            f"in the next start the kernel emulated {emulated:,} floating-point "
            "instructions",
            is_figure=True,
        )
    stage.tell(f"idle, {router.memory()}", is_figure=True)
    return again[0]


def _use_ftp(stage: Stage, router: Router) -> bytes:
    """Store and fetch a file from outside; return what is in it."""
    data = some_bytes(FILM_MB)
    with router.ftp() as ftp:
        ftp.mkd("films")
        before = router.uptime_s()
        ftp.storbinary(f"STOR films/{FILM}", io.BytesIO(data))
        stored = router.uptime_s()
        got = hashlib.sha256()
        ftp.retrbinary(f"RETR films/{FILM}", got.update)
        fetched = router.uptime_s()
    if got.digest() != hashlib.sha256(data).digest():
        raise MachineFailed("FTP gave back another file")
    up, down = FILM_MB / (stored - before), FILM_MB / (fetched - stored)
    stage.tell(
        f"FTP from outside: {FILM_MB} MB stored and fetched, "
        f"{up:.1f} MB/s up, {down:.1f} down"
    )
    return data


def pull(stage: Stage) -> None:
    """Pull the disk while a file comes, put it back: the file arrives whole."""
    friend = stage.friend()
    disk = new_disk(stage.folder, "ext4", DISK_MB)
    with stage.started(disk) as router:
        stage.meet(router, friend)
        stage.fetch(router, friend, is_waiting=False)
        stage.wait_until_moving(router)
        agent = router.run("agent")
        _pull_out(router)
        stage.tell("disk pulled while a file was coming: the agent runs, and says so")
        if router.run("find /mnt/disk -type f | head -n 3").strip():
            raise MachineFailed("something was written where the disk is missing")
        router.machine.plug(disk)
        router.wait_until_said("is up", 2)
        router.run("fonshare status | grep -q '^disk .* free of'")
        stage.tell("disk put back: it goes on")
        stage.expect_fetched(router, friend)
        if router.run("agent") != agent:
            raise MachineFailed("it is another process: the agent did not survive")
        stage.tell(router.memory(), is_figure=True)


def _pull_out(router: Router) -> None:
    """Pull the disk; return when the agent says that it is missing."""
    router.machine.unplug()
    router.wait_until_said("trouble: disk")
    router.until("! grep -q /mnt/disk /proc/mounts")
    router.until("fonshare status | grep -q '^disk  *missing'", pause_ms=2000)


def scan(stage: Stage) -> None:
    """Pull the disk while its index is written: it is right again, no hash is lost."""
    disk = new_disk(stage.folder, "ext4", DISK_MB)
    with stage.started(disk) as router:
        share, agent = Scanned(router), router.run("agent")
        for times in (1, 2):
            share.write_and_wait()
            _pull_out(router)
            stage.tell("disk pulled while a scan committed: the agent says so")
            router.machine.plug(disk)
            router.wait_until_said("is up", times + 1)
            share.expect_all()
            stage.tell("disk put back: all files are in the index, and its hashes")
        if router.run("agent") != agent:
            raise MachineFailed("it is another process: the agent did not survive")
        stage.tell(
            "disk pulled twice while a scan committed to the index on it: the same "
            "index again, with its hashes and all files, by the same process",
            is_figure=True,
        )


def vfat(stage: Stage) -> None:
    """A stick as it comes from a shop: owner, names, dates, 4 GiB, by setup's words."""
    friend = stage.friend(vm_fat.awkward_files())
    disk = new_disk(stage.folder, "vfat", vm_fat.DISK_MB)
    with stage.router(stage.plan(stage.installed), disk) as router:
        router.until("grep -q /mnt/disk /proc/mounts")
        vm_fat.set_up(stage, router)
        data = _use_ftp(stage, router)
        vm_fat.use_names(stage, router)
        stage.meet(router, friend)
        stage.serve(router, friend, FILM, data)
        vm_fat.fetch_names(stage, router, friend)
        vm_fat.refuse_too_large(stage, router, friend)
        stage.tell(router.memory(), is_figure=True)


def power(stage: Stage) -> None:
    """Cut the power while it writes; boot again; what was whole is whole."""
    friend = stage.friend()
    disk = new_disk(stage.folder, "ext4", DISK_MB)
    plan = stage.plan(stage.copy_of_installed(), is_root_kept=True)
    with stage.router(plan, disk) as router:
        router.until("grep -q /mnt/disk /proc/mounts")
        router.configure(stage.broker())
        router.start()
        data = _use_ftp(stage, router)
        stage.meet(router, friend)
        stage.fetch(router, friend, is_waiting=False)
        stage.wait_until_moving(router)
        _write_until_cut(router)
        stage.tell("power cut, while a file came from outside and one from a friend")
    with stage.router(plan, disk) as router:
        router.wait_until_up()
        stage.tell("it came up by itself")
        router.expect(f"/mnt/disk/films/{FILM}", data)
        if router.run("ls /mnt/disk/films").split() != [FILM]:
            raise MachineFailed("a part of a file has a file's name")
        stage.expect_fetched(router, friend)
        stage.serve(router, friend, FILM, data)
        router.run("/etc/init.d/fonshare stop && umount /mnt/disk && sync")
    subprocess.run(["e2fsck", "-fn", disk], check=True, stdout=subprocess.DEVNULL)
    stage.tell("after the power cut: files whole, disk clean", is_figure=True)


def _write_until_cut(router: Router) -> None:
    """Send a file by FTP and cut the power in the midst of it."""
    sent = 0

    def cut(block: bytes) -> None:
        nonlocal sent
        sent += len(block)
        if sent > CUT_AFTER_BYTES:
            router.machine.cut_power()
            raise ConnectionResetError

    with contextlib.suppress(OSError, EOFError, ftplib.Error), router.ftp() as ftp:
        ftp.storbinary("STOR films/cut.bin", io.BytesIO(some_bytes(8)), callback=cut)
    if sent <= CUT_AFTER_BYTES:
        raise MachineFailed("the file was not taken, so nothing could be cut off")


def pressure(stage: Stage) -> None:
    """Take the memory away: no new logins, then the agent goes first; it comes back."""
    disk = new_disk(stage.folder, "ext4", DISK_MB)
    with stage.started(disk) as router:
        data, agent, others = (
            _use_ftp(stage, router),
            router.run("agent"),
            Others(router),
        )
        with router.ftp() as inside:
            others.take_all_but(PRESSURE_KIB)
            stage.tell(f"{others}; {router.free()}")
            got = hashlib.sha256()
            inside.retrbinary(f"RETR films/{FILM}", got.update)
            if got.digest() != hashlib.sha256(data).digest():
                raise MachineFailed("FTP gave another file")
            stage.tell("who had logged in before is served a file")
            said = [refusal(router) for _ in range(2)]
            stage.tell(f"{others}; logins are answered {said}", is_figure=True)
            others.give_back()
            inside.voidcmd("NOOP")
        with router.ftp() as new:
            new.voidcmd("NOOP")
        lines = router.run("logread | grep -c 'memory is short'").strip()
        if router.killed() or router.run("agent") != agent or lines != "1":
            raise MachineFailed(f"something was killed, or {lines} lines in the log")
        stage.tell("given back: logins work, nothing was killed", is_figure=True)
        others.take_all()
        router.until(f"! [ -d /proc/{agent.strip()} ]")
        killed = router.killed()
        others.give_back()
        router.wait_until_said("is up", 2)
        router.expect(f"/mnt/disk/films/{FILM}", data)
        with router.ftp() as new:
            new.voidcmd("NOOP")
        stage.tell(
            f"all memory taken: the kernel killed {killed} processes, the agent first; "
            "given back: it came up by itself",
            is_figure=True,
        )


def two(stage: Stage) -> None:
    """Two such routers exchange files through a broker outside."""
    disks = [new_disk(stage.folder / name, "ext4", DISK_MB) for name in ("a", "b")]
    with ExitStack() as stack:
        anna, bert = (
            stack.enter_context(stage.started(disk, name, number))
            for number, (disk, name) in enumerate(
                zip(disks, ("anna", "bert"), strict=True)
            )
        )
        anna.run(f"fonshare group create {GROUP}")
        code = anna.run(f"fonshare group invite {GROUP} --accept-first").split()[-1]
        bert.run(f"fonshare group join {shlex.quote(code)} --yes")
        anna.wait_until_said("a node asks to join")
        bert.wait_until_said("joined a group")
        stage.tell("two routers are in one group")
        for source, taker in ((anna, bert), (bert, anna)):
            data, name = some_bytes(FILM_MB), f"{source.name}.bin"
            with source.ftp() as ftp:
                ftp.mkd("films")
                ftp.storbinary(f"STOR films/{name}", io.BytesIO(data))
            source.run(f"fonshare share add films --name Films --group {GROUP}")
            taker.get(f"{GROUP}/{source.name}/Films/{name}")
            before = taker.uptime_s()
            taker.until(f"find /mnt/disk/downloads -name {name} | grep -q .", 1000)
            took_s = taker.uptime_s() - before
            taker.expect(taker.found(name), data)
            stage.tell(
                f"{FILM_MB} MB from {source.name} are with {taker.name} {took_s:.0f} s "
                "after it asked",
                is_figure=True,
            )
        for one in (anna, bert):
            stage.tell(f"{one.name}, {one.memory()}", is_figure=True)


def extroot(stage: Stage) -> None:
    """The disk lies over the flash: without it, or late, nothing of FonShare runs."""
    disk = new_extroot_disk(stage.folder, EXTROOT_MB, DISK_MB)
    flash = stage.folder / "root.ext4"  # the package is not on it
    plan = stage.plan(flash, extroot_s=EXTROOT_S)
    with stage.router(plan, disk) as router:
        router.run("grep -q '^overlay / ' /proc/mounts")
        router.run("opkg install /packages/fonshare-agent.ipk")
        router.until("grep -q /mnt/disk /proc/mounts")
        router.configure(stage.broker())
        router.start()
        data = _use_ftp(stage, router)
        router.run("sync")
        _write_until_cut(router)
        stage.tell("installed onto the disk, up, and power cut while it wrote")
    with stage.router(plan) as router:
        _expect_nothing_runs(router)
        stage.tell("boot without the disk: nothing of FonShare, the router works")
        router.machine.plug(disk)
        router.until("grep -q /mnt/disk /proc/mounts")
        _expect_nothing_runs(router)
        stage.tell("disk late: nothing of FonShare, the router works")
    with stage.router(plan, disk) as router:
        router.wait_until_up()
        router.expect(f"/mnt/disk/films/{FILM}", data)
        stage.tell(
            "extroot: without the disk at boot, or late, nothing of FonShare runs; "
            "with it, after the power cut too, it comes up with its files whole",
            is_figure=True,
        )


def _expect_nothing_runs(router: Router) -> None:
    router.run("! agent && [ ! -e /usr/bin/fonshare ] && [ ! -e /etc/config/fonshare ]")
    # What a router is for: its host outside answers it.
    router.run(f"ping -c 1 -w 10 {router.machine.plan.host} > /dev/null")


PARTS: dict[str, Callable[[Stage], None]] = {
    "install": install,
    "share": share,
    "pull": pull,
    "scan": scan,
    "power": power,
    "vfat": vfat,
    "pressure": pressure,
    "two": two,
    "extroot": extroot,
}
