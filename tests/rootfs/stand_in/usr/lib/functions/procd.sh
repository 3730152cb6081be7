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
uci_load_validate() {
	local section=$3 callback=$4 status=0 rule option value

	shift 4
	for rule in "$@"; do
		option=${rule%%:*} rule=${rule#*:}
		config_get value "$section" "$option"
		[ -z "$value" ] || is_valid "$value" "$rule" || status=1
	done
	[ -z "$callback" ] || "$callback" "$section" "$status"
}

# The datatypes that cases put wrong values into; all else passes.
is_valid() {
	case $2 in
	bool*)
		case $1 in 0 | 1 | on | off | yes | no | true | false) ;; *) return 1 ;; esac ;;
	port | port:*)
		case $1 in *[!0-9]*) return 1 ;; esac
		[ "$1" -le 65535 ] ;;
	esac
}
