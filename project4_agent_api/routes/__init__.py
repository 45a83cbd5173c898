"""The routes of stage 4."""
