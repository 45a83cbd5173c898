"""The embedded OpenAI-compatible model server, for a working system without an API key."""
