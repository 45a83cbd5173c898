"""Redis: the client, and the circuit breaker in front of it."""
