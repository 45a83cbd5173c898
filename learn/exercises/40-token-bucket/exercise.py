"""A token bucket: a rate limit that allows short bursts."""


class TokenBucket:
    """Allows `capacity` requests at once, and `per_minute` in the long run, for each user.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, capacity, per_minute, clock):
        self.capacity = capacity
        self.rate = per_minute / 60  # tokens a second
        self.clock = clock
        self.buckets = {}

    def take(self, user):
        """Take a token.

        Returns:
            0 if the request is allowed; otherwise the seconds until it would be, for the header `Retry-After`.
        """
        # TODO: A new bucket is full. First add the tokens accrued since the last call, up to the capacity; then
        #       take one token if there is a whole one.
        #       新桶是满的。先补上自上次以来流入的令牌，不超过容量；够一个再取走。
        return 0
