"""Graphs of a team of its own."""
