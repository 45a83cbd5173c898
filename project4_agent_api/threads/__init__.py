"""Threads: their rows, their states and their history."""
