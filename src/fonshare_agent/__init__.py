"""FonShare: a private cloud made of the routers that friends already own."""

__version__ = "0.1.0"

# Where it is, this is a router. Here, since the quickest commands and the agent at rest
# both look there, and neither is to load a module for it.
ROUTER_FILE = "/etc/config/fonshare"
