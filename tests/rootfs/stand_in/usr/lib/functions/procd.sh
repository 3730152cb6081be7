# A stand-in for the shell side of procd: what a service says about itself becomes a file
# of shell assignments for the stand-in of procd.

procd_open_service() {
	SERVICE=$1
	SAID=/var/run/procd/$1.new
	mkdir -p /var/run/procd
	: > "$SAID"
}

procd_set_param() {
	local key=$1
	shift
	case $key in
	file) md5sum "$@" 2> /dev/null | sed 's/^/# /' >> "$SAID" ;;
	*) echo "$key='$*'" >> "$SAID" ;;
	esac
}

procd_close_service() {
	procd set "$SERVICE"
}

# Other services' business, and texts for them.
for word in procd_open_instance procd_close_instance procd_open_data procd_close_data \
	procd_add_reload_trigger procd_add_validation procd_add_mdns_service json_add_object \
	json_close_object json_add_array json_close_array json_add_string; do
	eval "$word() { :; }"
done

# uci_load_validate PACKAGE TYPE SECTION CALLBACK OPTION:DATATYPE:DEFAULT...
# If all is valid the options are variables then, with their defaults.
uci_load_validate() {
	local section=$3 callback=$4 status=0 rule value type

	shift 4
	for rule in "$@"; do
		config_get value "$section" "${rule%%:*}"
		split_rule "$rule"
		[ -z "$value" ] || is_valid "$value" "$type" || status=255
	done
	for rule in "$@"; do
		[ "$status" = 0 ] || break
		split_rule "$rule"
		config_get "${rule%%:*}" "$section" "${rule%%:*}" "$default"
	done
	[ -z "$callback" ] || "$callback" "$section" "$status"
}

split_rule() { # sets type and default
	type=${1#*:} default=
	case $type in
	*\):*) default=${type#*\):} type=${type%"$default"} type=${type%:} ;;
	*\)) ;;
	*:*) default=${type#*:} type=${type%%:*} ;;
	esac
}

is_valid() { # VALUE DATATYPE; what is none of these passes
	local low high

	case $2 in
	bool)
		case $1 in
		0 | 1 | on | off | yes | no | true | false | enabled | disabled) ;;
		*) return 1 ;;
		esac ;;
	port) is_between 0 "$1" 65535 ;;
	portrange) is_between 0 "${1%%-*}" "${1#*-}" && is_between 0 "${1#*-}" 65535 ;;
	range*)
		low=${2#range(} high=${2#*,}
		is_between "${low%%,*}" "$1" "${high%)}" ;;
	or*) case $2 in *"\"$1\""*) ;; *) return 1 ;; esac ;;
	host) case $1 in *[!A-Za-z0-9._:-]*) return 1 ;; esac ;;
	ipaddr) is_address "$1" ;;
	esac
}

is_between() { # LOW VALUE HIGH
	case $2 in '' | *[!0-9]*) return 1 ;; esac
	case $3 in '' | *[!0-9]*) return 1 ;; esac
	[ "$1" -le "$2" ] && [ "$2" -le "$3" ]
}

is_address() {
	local IFS=. part
	case $1 in
	*[!0-9a-fA-F.:]*) return 1 ;;
	*:*) return 0 ;;
	esac
	set -- $1
	[ $# = 4 ] || return 1
	for part; do is_between 0 "$part" 255 || return 1; done
}
