# A stand-in for OpenWrt's functions.sh: settings for shell scripts, and what its package
# scripts call. Written from facts; tests/rootfs/observed says what the real one does.

# --- settings: a UCI file reads as a shell script of these three words ---

config() {
	NUMBER=$((NUMBER + 1))
	SECTION=${2:-cfg$NUMBER}
	SECTIONS="$SECTIONS $SECTION" LOADED="$LOADED CFG_${SECTION}_TYPE"
	eval "CFG_${SECTION}_TYPE=\$1"
}

option() {
	LOADED="$LOADED CFG_${SECTION}_$1"
	eval "CFG_${SECTION}_$1=\$2"
}

list() {
	LOADED="$LOADED CFG_${SECTION}_$1"
	eval "CFG_${SECTION}_$1=\"\${CFG_${SECTION}_$1:+\$CFG_${SECTION}_$1 }\$2\""
}

config_load() {
	[ -z "$LOADED" ] || unset $LOADED
	SECTIONS= NUMBER=0 LOADED=
	[ ! -e "/etc/config/$1" ] || . "/etc/config/$1"
}

config_get() {
	eval "$1=\${CFG_${2}_$3:-\$4}"
}

config_get_bool() {
	config_get "$@"
	case $(eval "echo \$$1") in
	1 | on | true | yes | enabled) eval "$1=1" ;;
	0 | off | false | no | disabled) eval "$1=0" ;;
	*) eval "$1=\$4" ;;
	esac
}

config_foreach() {
	local each kind

	for each in $SECTIONS; do
		config_get kind "$each" TYPE
		[ "$kind" != "$2" ] || "$1" "$each"
	done
}

# --- packages: called by their scripts with the script's path ---

info_of() {
	echo "$IPKG_INSTROOT/usr/lib/opkg/info/$(basename "${1%.*}")"
}

default_postinst() {
	local info status=0 script user

	info=$(info_of "$1")
	for user in $(sed -n 's/^Require-User: *//p' "$info.control"); do
		add_user "$user"
	done
	for script in $(grep '^/etc/uci-defaults/' "$info.list"); do
		[ ! -f "$script" ] || { (. "$script") && rm -f "$script"; }
	done
	! grep -q '^/etc/uci-defaults/' "$info.list" || uci commit
	[ ! -f "$info.postinst-pkg" ] || (. "$info.postinst-pkg") || status=$?
	for script in $(grep '^/etc/init.d/' "$info.list"); do
		[ "$PKG_UPGRADE" = 1 ] || "$script" enable
		"$script" start
	done
	return "$status"
}

default_prerm() {
	local info status=0 script

	info=$(info_of "$1")
	[ ! -f "$info.prerm-pkg" ] || (. "$info.prerm-pkg") || status=$?
	for script in $(grep '^/etc/init.d/' "$info.list"); do
		[ "$PKG_UPGRADE" = 1 ] || "$script" disable
		"$script" stop
	done
	return "$status"
}

# NAME=UID:GROUP=GID
add_user() {
	local name=${1%%:*} group=${1#*:}

	grep -q "^${group%=*}:" /etc/group ||
		echo "${group%=*}:x:${group#*=}:${name%=*}" >> /etc/group
	grep -q "^${name%=*}:" /etc/passwd ||
		echo "${name%=*}:x:${name#*=}:${group#*=}:${name%=*}:/var/run/${name%=*}:/bin/false" \
			>> /etc/passwd
}
