#!/bin/sh
# Installs FonShare and what it needs from this folder, one package after another: opkg
# keeps in memory what it works on, and 64 MB are soon used up. Run it again after a
# failure; what is installed already is passed over.
#
#     sh /mnt/sda2/bundle/install.sh

FOLDER=$(cd "$(dirname "$0")" && pwd)
ROOT=${ROOT:-/}
MEMORY_MIN_KIB=12288 # opkg unpacks the largest package, python3-light, in about 8 MB
SPARE_KIB=4096
UNPACKED=4 # times the size of an .apk, at most: these are texts and code, compressed

fail() {
	echo "install.sh: $1" >&2
	exit 1
}

is_installed() {
	opkg status "$1" | grep -q '^Status: .* installed$'
}

# The sizes of all packages here, unpacked, in KiB.
needed_kib() {
	local size sum=0
	for file in "$@"; do
		size=$(tar -xzOf "$file" ./control.tar.gz | tar -xzOf - ./control |
			sed -n 's/^Installed-Size: //p')
		sum=$((sum + ${size:-0} / 1024 + 1))
	done
	echo "$sum"
}

check_memory() {
	local free
	free=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
	[ "$free" -ge "$MEMORY_MIN_KIB" ] ||
		fail "$free KiB of memory are free, $MEMORY_MIN_KIB are needed: stop other services, or reboot"
}

check_room() {
	local free
	free=$(df -k "$ROOT" | awk 'END { print $(NF - 2) }')
	[ "$free" -ge "$1" ] ||
		fail "$ROOT has $free KiB of room, $1 are needed: is the system on the disk (extroot)?"
}

# OpenWrt 25.12: apk puts them in order by itself, so it gets all at once. What is not in
# this folder comes from the feeds, after `apk update`. LuCI's pages only where LuCI is.
install_by_apk() {
	local file size sum=$SPARE_KIB
	ls fonshare-agent-*.apk > /dev/null 2>&1 ||
		fail "there is no .apk here: 25.12 takes what \`make sdk\` builds, put it beside this file"
	set --
	for file in ./*.apk; do
		case $file in
		./luci-*) apk info -e luci-base > /dev/null || continue ;;
		esac
		size=$(wc -c < "$file")
		sum=$((sum + size * UNPACKED / 1024 + 1))
		set -- "$@" "$file"
	done
	check_room "$sum"
	check_memory
	apk add --allow-untrusted "$@" || fail "apk could not install them; after \`apk update\` it finds what they need"
	echo "Done. Next: fonshare setup"
}

cd "$FOLDER" || exit 1
case $FOLDER in
/tmp/* | /var/*) fail "$FOLDER is memory: copy this folder to the disk" ;;
esac
if ! command -v opkg > /dev/null && command -v apk > /dev/null; then
	install_by_apk
	exit
fi
[ -s order.txt ] || fail "there is no order.txt: run fetch.py on a PC first"

# LuCI's pages only where LuCI is: without it they are of no use.
pages=
if is_installed luci-base; then
	pages=$(ls luci-app-fonshare_*.ipk luci-i18n-fonshare-*.ipk 2> /dev/null)
fi
todo=
# shellcheck disable=SC2086  # names without blanks
for file in $(cat order.txt) fonshare-agent_*.ipk $pages; do
	[ -s "$file" ] || fail "$file is missing: copy the whole folder"
	is_installed "${file%%_*}" || todo="$todo $file"
done
[ -n "$todo" ] || { echo "Everything is installed."; exit 0; }

# shellcheck disable=SC2086  # names without blanks
check_room $(($(needed_kib $todo) + SPARE_KIB))

for file in $todo; do
	# Lists of feeds are kept in memory, and are not needed here.
	rm -f /var/opkg-lists/* 2> /dev/null
	check_memory
	echo "$file"
	opkg install "$FOLDER/$file" || fail "$file could not be installed"
done
echo "Done. Next: fonshare setup"
