"""A graph with one node."""

from agent.graph import graph

__all__ = ["graph"]
