"""Streams of threads: in the form of LangGraph's API, and in that of its streaming protocol."""
