"""What a form shows of a setting besides its help: a label, and how it is filled in.

LuCI's form is made from this (tools/luci_files.py), and the page's off the router.
"""

import re
from typing import Final

from fonshare_agent.config_table import Option
from fonshare_agent.config_values import BOOL

# What stands before a field: the settings' help is a sentence, too long for a label.
LABELS: Final = {
    "node.name": "Name",
    "node.enabled": "Enabled",
    "node.public_name": "Public name",
    "node.port_mapping": "Port mapping",
    "node.relay": "Relay for others",
    "node.allow_private_addresses": "Private addresses",
    "disk": "Disk",
    "state": "State folder",
    "keys": "Keys folder",
    "index": "Index folder",
    "run": "Socket folder",
    "ftp.address": "Address",
    "ftp.port": "Port of the house door",
    "ftp.passive_ports": "Data ports of the house door",
    "ftp.friends_port": "Port of the friends’ door",
    "ftp.friends_passive_ports": "Data ports of the friends’ door",
    "ftp.guest_folders": "Guest folders",
    "ftp.house_networks": "House networks",
    "ftp.owner_from_wan": "Owner from outside",
    "ftp.keep_opened": "Keep what is opened",
    "ftp.certificate": "Certificate",
    "ftp.certificate_key": "Key of the certificate",
    "mqtt.broker": "Broker",
    "mqtt.ca": "Broker’s authority",
    "mqtt.pin": "Broker’s pin",
    "downloads": "Downloads folder",
    "limits.upload_kib_s": "Upload",
    "limits.download_kib_s": "Download",
    "limits.house": "Limits at home too",
    "limits.hours": "Hours",
    "limits.other_upload_kib_s": "Upload at other times",
    "limits.other_download_kib_s": "Download at other times",
    "limits.relay_kib_s": "Carried for others",
    "limits.transfers": "Transfers at once",
    "limits.uploads": "Friends served at once",
    "limits.give_way": "Give way to the household",
    "limits.hash_kib_s": "Reading for content roots",
    "limits.hash_hours": "Hours for content roots",
    "limits.scan_period_s": "Time between scans",
    "web.address": "Address of the page",
    "web.port": "Port of the page",
    "web.names": "Names of the page",
    "web.proxy": "Proxy before the page",
    "ftp.users.name": "Login",
    "ftp.users.password": "Password",
    "ftp.users.access": "Access",
    "shares.name": "Name",
    "shares.path": "Folder",
    "shares.groups": "Groups",
    "shares.mirror_of": "Copy of a server",
    "shares.mirror_pin": "That server’s pin",
    "shares.mirror_ca": "That server’s authority",
}
SECTIONS: Final = {
    "node": "Node",
    "disk": "Disk and folders",
    "ftp": "FTP doors",
    "mqtt": "Broker",
    "downloads": "Downloads",
    "limits": "Limits and hours",
    "web": "This page",
    "user": "Logins of the house door",
    "share": "Shares",
}
# What is asked before an option is changed: nothing follows it to another folder.
CAUTIONS: Final = {
    "disk": "Files do not move by themselves, and another disk has to be taken as this "
    "node’s on the overview.",
    "state": "Keys, groups and transfers lie in that folder and do not move by "
    "themselves. Without them this node is a new one that no group knows: move the "
    "folder while FonShare is stopped.",
    "keys": "The keys do not move by themselves. Without them this node is a new one "
    "that no group knows: move the folder while FonShare is stopped.",
}
_WORDS: Final = re.compile(r'"([^"]*)"')


def widget_of(option: Option) -> str:
    """Return flag, secret, list, choice or text."""
    if option.kind is BOOL:
        return "flag"
    if option.kind.is_secret:
        return "secret"
    if option.kind.is_list:
        return "list"
    return "choice" if option.kind.uci.startswith("or(") else "text"


def choices_of(option: Option) -> list[str]:
    """Return the words of a choice."""
    return _WORDS.findall(option.kind.uci)
