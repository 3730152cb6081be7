#!/bin/sh
# Runs the commands of a case inside the router's user land: /case/N.sh, one after
# another, each one's output to N.out and exit status to N.status. Starts first what a
# booted OpenWrt would have running.
unset LD_PRELOAD
export PATH=/case/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mkdir -p /var/run/ubus /var/lock /var/log
if command -v ubusd > /dev/null; then # OpenWrt's own
	ubusd &
	until [ -S /var/run/ubus/ubus.sock ]; do sleep 1; done
	logd -S 128 &
	procd > /dev/null 2>&1 &
	until ubus list service > /dev/null 2>&1; do sleep 1; done
fi > /dev/null 2>&1
cd /
number=1
while [ -e "/case/$number.sh" ]; do
	sh "/case/$number.sh" > "/case/$number.out" 2>&1 < /dev/null
	echo $? > "/case/$number.status"
	number=$((number + 1))
done
