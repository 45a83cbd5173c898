"""The routes of stage 3."""
