"""Streams that clients read beyond one run: a thread's events, and the newer streaming protocol."""
