"""Assistants: a graph with a configuration, in numbered versions."""
