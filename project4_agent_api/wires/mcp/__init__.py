"""MCP: assistants as tools, documents as resources."""
