"""Routes of stage 1."""
