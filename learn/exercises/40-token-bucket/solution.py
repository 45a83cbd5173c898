"""A token bucket: a rate limit that allows short bursts."""

from collections.abc import Callable


class TokenBucket:
    """Allows `capacity` requests at once, and `per_minute` in the long run, for each user.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, capacity: int, per_minute: float, clock: Callable[[], float]) -> None:
        self.capacity = capacity
        self.rate = per_minute / 60  # tokens a second
        self.clock = clock
        self.buckets: dict[str, tuple[float, float]] = {}

    def take(self, user: str) -> float:
        """Take a token.

        Returns:
            0 if the request is allowed; otherwise the seconds until it would be, for the header `Retry-After`.
        """
        now = self.clock()
        tokens, filled = self.buckets.get(user, (float(self.capacity), now))
        tokens = min(self.capacity, tokens + (now - filled) * self.rate)
        allowed = tokens >= 1
        self.buckets[user] = (tokens - 1 if allowed else tokens, now)
        return 0 if allowed else (1 - tokens) / self.rate
