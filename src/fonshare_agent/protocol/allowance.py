"""A token bucket: how much of something one peer may cause. Pure."""


class Allowance:
    """*burst* at once, *per_second* for ever."""

    __slots__ = ("_burst", "_level", "_per_second", "_since")

    def __init__(self, now: float, burst: float, per_second: float) -> None:
        self._burst, self._per_second = burst, per_second
        self._level, self._since = burst, now

    def take(self, now: float) -> bool:
        """Take one; False if none is left."""
        return self.take_up_to(1, now) == 1

    def take_up_to(self, wanted: int, now: float) -> int:
        """Take as many of *wanted* as there are and return their number."""
        refill = max(0.0, now - self._since) * self._per_second
        self._level = min(self._burst, self._level + refill)
        self._since = now
        taken = min(wanted, int(self._level))
        self._level -= taken
        return taken
