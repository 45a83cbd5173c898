"""From an uploaded file to chunks in the index."""
