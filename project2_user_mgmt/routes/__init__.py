"""Routes of stage 2."""
