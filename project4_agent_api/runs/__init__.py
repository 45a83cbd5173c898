"""The way of a run: stored by the API (`queue`), executed by a worker (`execution`), read by anyone (`events`)."""
