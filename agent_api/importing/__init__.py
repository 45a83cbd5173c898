"""`agent-api import`: copy assistants, threads, store items and crons from another server of LangGraph's API."""
