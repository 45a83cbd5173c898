"""OpenAI's API: assistants as models, for its clients."""
