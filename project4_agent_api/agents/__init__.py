"""The graphs that come with the service: an agent with tools, and answers from documents as an explicit graph."""
