"""What the two FTP doors are opened with: settings, as the FTP service takes them."""

from fonshare_agent.ftp.accounts import Account
from fonshare_agent.ftp.server import (
    BUFFER_BYTES,
    SMALL_BUFFER_BYTES,
    UPLOAD_BUFFER_BYTES,
    FtpOptions,
)
from fonshare_agent.links.lan import house_networks
from fonshare_agent.model import SharePath
from fonshare_agent.nodekeys import NodeKeys
from fonshare_agent.settings import FtpSettings, Network, Settings


def ftp_options(settings: Settings, keys: NodeKeys) -> FtpOptions:
    """Return how both doors are opened."""
    ftp = settings.ftp
    own = (keys.certificate_path, keys.private_key_path)
    house = own
    if ftp.certificate is not None and ftp.certificate_key is not None:
        house = (ftp.certificate, ftp.certificate_key)
    everywhere = ftp.address in ("0.0.0.0", "::")
    return FtpOptions(
        disk=settings.disk,
        address="" if everywhere else ftp.address,
        port=ftp.port,
        passive_ports=_range(ftp.passive_ports),
        friends_port=ftp.friends_port,
        friends_passive_ports=_range(ftp.friends_passive_ports),
        users=tuple(
            Account(
                user.name, user.password_hash, "write" if user.may_write else "read"
            )
            for user in ftp.users
        ),
        guest_folders=tuple(_folder(one) for one in ftp.guest_folders),
        house_networks=tuple(map(str, house_now(ftp))),
        owner_from_wan=ftp.owner_from_wan,
        house_certificate=house,
        friends_certificate=own,
        buffer_size=SMALL_BUFFER_BYTES if settings.is_on_router else BUFFER_BYTES,
        upload_buffer_size=(
            SMALL_BUFFER_BYTES if settings.is_on_router else UPLOAD_BUFFER_BYTES
        ),
    )


def house_now(ftp: FtpSettings) -> tuple[Network, ...]:
    """Return what counts as the house now, the lan zone's networks if named."""
    return house_networks(ftp.house_networks, ftp.house_lan)


def _range(ports: tuple[int, int]) -> range:
    return range(ports[0], ports[1] + 1)


def _folder(text: str) -> tuple[bytes, ...]:
    """Return the components of a guest folder; none stand for the whole disk."""
    if text in ("", "."):
        return ()
    return SharePath.parse(text).parts
