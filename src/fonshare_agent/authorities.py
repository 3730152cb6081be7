"""Who must have signed a server's certificate: the system's authorities or a file's."""

import ssl
from pathlib import Path


def context_of(ca: Path | None) -> ssl.SSLContext:
    """Return what trusts whom the system trusts, or who is in *ca* and no other.

    From 3.13 on Python refuses authorities that do not say what their key is for, as
    `openssl req -x509` makes them by itself. Whoever names a file of their own has
    decided; an upgrade of Python must not take the broker away.
    """
    context = ssl.create_default_context(cafile=ca)
    if ca is not None:
        context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    return context
