"""Checkpoints: the state of a thread after each step, in LangGraph's own tables."""
