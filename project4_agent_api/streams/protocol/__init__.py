"""LangGraph's streaming protocol: commands to a thread, and one stream of its events."""
