"""Events of runs and threads, published through Redis and sent to clients as server-sent events."""
