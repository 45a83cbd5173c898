"""The command `agent-api`, for developers of agents and for operators of project 4."""
