"""Steps of runs, for their owners: read from checkpoints, run rows and events, without a second store."""
