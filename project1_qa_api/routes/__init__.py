"""The routes of stage 1."""
