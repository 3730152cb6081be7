"""FonShare: a private cloud made of the routers that friends already own."""

__version__ = "0.1.0"
