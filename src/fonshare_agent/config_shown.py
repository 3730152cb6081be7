"""Settings as they are told to people: what holds, option by option, without secrets.

The broker's password is masked, and of a login only its name and what it may do is
told. Loaded when somebody asks.
"""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from fonshare_agent.clock import shown_hours
from fonshare_agent.config_docs import ROUTER_OPTIONS
from fonshare_agent.config_table import LIST_HELP, OPTIONS, Option, Unset
from fonshare_agent.config_values import HOURS, PORT_RANGE, redact_url
from fonshare_agent.settings import Settings

Told = dict[str, Any]


def rows(settings: Settings) -> list[Told]:
    """Return a row for each option, in the order of the table; then logins, shares."""
    options = ROUTER_OPTIONS if settings.is_on_router else OPTIONS
    users = [f"{user.name} ({user.access})" for user in settings.ftp.users]
    shares = [f"{share.name}: {share.path}" for share in settings.shares]
    return [
        *(_row(settings, option) for option in options),
        _list_row("ftp.users", users),
        _list_row("shares", shares),
    ]


def _row(settings: Settings, option: Option) -> Told:
    default = option.router if settings.is_on_router else option.default
    return {
        "name": option.name,
        "value": _value(settings, option),
        "default": plain(default),
        "is_unset": isinstance(default, Unset),
        "allowed": option.kind.allowed,
        "help": option.help,
    }


def _list_row(name: str, values: list[str]) -> Told:
    return {
        "name": name,
        "value": [*values],
        "default": [],
        "is_unset": False,
        "allowed": "",
        "help": LIST_HELP[name],
    }


def _value(settings: Settings, option: Option) -> Any:
    value: Any = settings
    for part in option.name.split("."):
        value = getattr(value, part)
    if option.kind is HOURS:
        return "0-24" if value is None else shown_hours(value)
    if option.kind is PORT_RANGE:
        return f"{value[0]}-{value[1]}"
    if option.name == "mqtt.broker":
        return redact_url(value)
    if option.name == "ftp.house_networks" and settings.ftp.house_lan:
        value = (*value, "lan")
    return plain(value)


def plain(value: Any) -> Any:
    """Return a value of Settings as JSON; a path that is not UTF-8 as surrogates."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (str, Path, IPv4Network, IPv6Network)):
        return str(value)
    raise TypeError(f"a setting of a type that nobody shows: {type(value)}")
