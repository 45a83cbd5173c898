"""A2A: assistants as agents."""
