"""What lets the next data connection to a peer resume TLS: one for each peer, kept.

Not read anew for each connection: Python up to 3.12.7 and 3.13.0 loses 4.6 KB for ever
with each reading of `SSLSocket.session`, which copies OpenSSL's session and forgets the
copy. So one is read, and used until the peer does not take it any more. Any thread.
"""

import ssl
import threading
from typing import Final

from fonshare_agent.transfer.wire import Wire

PEERS_MAX: Final = 32  # each takes some 4 KB; whose was kept longest ago gives way


class Resumptions:
    """Those of one context, by the fingerprint of the peer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[bytes, ssl.SSLSession] = {}

    def find(self, fingerprint: bytes, control: Wire) -> ssl.SSLSession | None:
        """Return what lets a connection to that peer resume; from *control*, which is
        one, if nothing is kept."""
        with self._lock:
            kept = self._kept.get(fingerprint)
            if kept is None and (kept := control.session) is not None:
                self._kept[fingerprint] = kept
                if len(self._kept) > PEERS_MAX:
                    del self._kept[next(iter(self._kept))]
            return kept

    def forget(self, fingerprint: bytes) -> None:
        """The peer does not take it: it has started anew, or trusts others now."""
        with self._lock:
            self._kept.pop(fingerprint, None)
