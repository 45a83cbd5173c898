"""The built-in graphs: `agent`, an agent with tools, and `rag`, cited answers from documents."""
