"""Ingestion: from an uploaded file to chunks in the search index."""
