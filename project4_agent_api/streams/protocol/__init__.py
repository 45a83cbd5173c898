"""LangGraph's streaming protocol: commands to a thread, and one stream of all that happens on it."""
