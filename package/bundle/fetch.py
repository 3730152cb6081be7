#!/usr/bin/env python3
"""Fetches on a PC what install.sh installs on the router: the packages of its feeds.

    python3 fetch.py distfeeds.conf [installed.txt]

distfeeds.conf is the router's own /etc/opkg/distfeeds.conf, so that release and
architecture are right; installed.txt, what `opkg list-installed` prints there, leaves
out what it has. Every file is checked against the feed's index. order.txt lists them,
each after what it depends on. Needs Python 3.9 or later, and nothing else.
"""

import gzip
import hashlib
import re
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
WANTED, ORDER = HERE / "feed-packages.txt", HERE / "order.txt"
TIMEOUT_S = 60
APK_INDEX = "packages.adb"  # of OpenWrt 25.12, in a form that apk alone reads
OF_APK = """these are the feeds of apk (25.12), whose index apk alone can read. Give the
router a network for once: `apk update` there, then install.sh has apk fetch the rest"""


def read_feeds(text):
    """Return the addresses of the feeds that a distfeeds.conf names."""
    lines = [line.split() for line in text.splitlines()]
    return [words[2] for words in lines if len(words) == 3 and words[0] == "src/gz"]


def read_index(text, feed):
    """Return the packages of a feed's index, by name and by what they provide."""
    packages = {}
    for entry in re.split(r"\n\s*\n", text.strip()):
        fields = dict(re.findall(r"^([\w-]+): *(.*)$", entry, re.MULTILINE))
        fields["Feed"] = feed
        packages.setdefault(fields["Package"], fields)
        for name in names_in(fields.get("Provides", "")):
            packages.setdefault(name, fields)
    return packages


def names_in(depends):
    """Return the names in a list of dependencies, without versions."""
    return [words.split()[0] for words in depends.split(",") if words.strip()]


def resolve(wanted, packages, installed):
    """Return the packages to install, each after those it depends on.

    A name that neither the feeds nor the router have is a KeyError.
    """
    order, seen = [], set(installed)

    def take(name):
        if name in seen:
            return
        seen.add(name)
        package = packages[name]
        for other in names_in(package.get("Depends", "")):
            take(other)
        if package not in order and package["Package"] not in installed:
            order.append(package)

    for name in wanted:
        take(name)
    return order


def download(address):
    """Return what lies at *address*."""
    with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
        return answer.read()


def fetch(package, folder):
    """Have the package's file in *folder*; return its name. ValueError if damaged."""
    file = folder / package["Filename"].rsplit("/", 1)[-1]
    data = file.read_bytes() if file.exists() else b""
    if hashlib.sha256(data).hexdigest() != package["SHA256sum"]:
        data = download(f"{package['Feed']}/{package['Filename']}")
        if hashlib.sha256(data).hexdigest() != package["SHA256sum"]:
            raise ValueError(f"{package['Filename']} is not what its feed says")
        file.write_bytes(data)
    return file.name


def main(arguments):
    """Fetch all; the exit status."""
    if not 1 <= len(arguments) <= 2:
        print(__doc__, file=sys.stderr)
        return 2
    text = Path(arguments[0]).read_text()
    feeds = read_feeds(text)
    if not feeds:
        if APK_INDEX in text:
            print(OF_APK, file=sys.stderr)
        else:
            print(f"{arguments[0]} names no feed of opkg's", file=sys.stderr)
        return 1
    listed = Path(arguments[1]).read_text() if len(arguments) == 2 else ""
    # Every router has these; their packages are of the firmware's very build.
    installed = {"libc", "kernel", *(line.split()[0] for line in listed.splitlines())}
    packages = {}
    for feed in feeds:
        print(f"index of {feed}")
        index = gzip.decompress(download(f"{feed}/Packages.gz")).decode()
        packages = {**read_index(index, feed), **packages}
    try:
        order = resolve(WANTED.read_text().split(), packages, installed)
    except KeyError as error:
        print(f"no feed has the package {error}", file=sys.stderr)
        return 1
    names = []
    for package in order:
        print(package["Package"], package["Version"])
        names.append(fetch(package, HERE))
    ORDER.write_text("".join(f"{name}\n" for name in names))
    print(f"{len(names)} packages; copy this folder to the router's disk, then there:")
    print(f"  sh /mnt/sda2/{HERE.name}/install.sh")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
