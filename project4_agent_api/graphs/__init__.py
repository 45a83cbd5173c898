"""Graphs: `langgraph.json`, the registry of graphs, and the checkpointer."""
