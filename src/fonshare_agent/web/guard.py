"""Which requests come from our own page, on this machine or in the house. Pure.

- A page of another site whose name is made to lead here (DNS rebinding) says that name
  in `Host`: only literal addresses, localhost and the names in the settings are served.
- A page of another site that sends requests here (CSRF) is told by `Origin`,
  `Sec-Fetch-Site`, and by a header of ours that no form can send and no foreign script
  may; and our cookie is SameSite=Strict.
- Passwords and names cross the network in clear only within the house: who does not
  come through the proxy, which speaks TLS, must be in `ftp.house_networks`.
"""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from fonshare_agent.addresses import Address
from fonshare_agent.settings import Network, Settings
from fonshare_agent.web.exchange import Request, unmapped
from fonshare_agent.web.refusals import OutsideHouse, WebRefused, WrongHost

OURS: Final = "X-FonShare"  # its presence is what counts


class Guard:
    """The checks of one server's settings."""

    def __init__(self, settings: Settings) -> None:
        web = settings.web
        self._names = {"localhost", *(name.lower().rstrip(".") for name in web.names)}
        self._loopback_only = ipaddress.ip_address(web.address).is_loopback
        self._houses: tuple[Network, ...] = settings.ftp.house_networks

    def check(self, request: Request) -> None:
        """Raise a WebRefused if *request* is none of our page's."""
        if not self._is_ours(request.host):
            raise WrongHost(
                "the page is not called by this name", thing=_shown(request.host)
            )
        if not request.is_tls and not self._is_in_house(request.address):
            raise OutsideHouse(
                "without TLS the page is for the house only", thing=request.address
            )
        if request.method not in ("GET", "HEAD"):
            self._check_origin(request)

    def _check_origin(self, request: Request) -> None:
        origin = request.header("Origin")
        scheme = "https" if request.is_tls else "http"
        if origin and origin.lower() != f"{scheme}://{request.host.lower()}":
            raise WebRefused("another site's page asked", thing=_shown(origin))
        site = request.header("Sec-Fetch-Site")
        if site and site != "same-origin":
            raise WebRefused("another site's page asked", thing=_shown(site))
        if not request.header(OURS):
            raise WebRefused(f"the request lacks the header {OURS}")

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if not name or "@" in host or "/" in host:
            return False
        address = _address(name)
        if address is None:
            return name.rstrip(".") in self._names
        # A literal address is no name that anybody could make lead elsewhere.
        return address.is_loopback or not self._loopback_only or name in self._names

    def _is_in_house(self, text: str) -> bool:
        address = _address(text)
        if address is None:
            return False
        return address.is_loopback or any(address in one for one in self._houses)


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(unmapped(text))
    except ValueError:
        return None


def _shown(text: str) -> str:
    return repr(text[:80])
