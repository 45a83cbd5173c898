"""Foundations of all features of stage 4; it imports none of them."""
