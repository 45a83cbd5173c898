"""Graphs: `langgraph.json`, the registry of what it names, and the checkpointer."""
