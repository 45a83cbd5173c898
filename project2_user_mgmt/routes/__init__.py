"""The routes of stage 2."""
