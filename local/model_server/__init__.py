"""The embedded OpenAI-compatible model server: a working system for someone who has no API key."""
