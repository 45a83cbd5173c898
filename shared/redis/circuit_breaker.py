"""A circuit breaker for features that work without Redis."""

from time import monotonic

from loguru import logger

_PAUSE_SECONDS = 1.0


class CircuitBreaker:
    """Skips Redis for a second after a failure, because every call to a frozen server takes seconds to fail.

    Args:
        feature: For the log, as a plural noun: "shared rate limits".
        fallback: For the log, what happens instead: "each process counts its own requests".
    """

    def __init__(self, feature: str, *, fallback: str) -> None:
        self._feature = feature
        self._fallback = fallback
        self._retry_at = 0.0
        self._failing = False

    def allow(self) -> bool:
        """Return whether to call Redis now."""
        return monotonic() >= self._retry_at

    def record_failure(self, error: Exception) -> None:
        """Open the circuit after a failed call."""
        self._retry_at = monotonic() + _PAUSE_SECONDS
        if not self._failing:
            logger.warning(
                "Redis unavailable ({}); {} suspended: {}", type(error).__name__, self._feature, self._fallback
            )
        self._failing = True

    def record_success(self) -> None:
        """Close the circuit after a successful call."""
        if self._failing:
            logger.info("Redis recovered; {} resumed", self._feature)
        self._failing = False
