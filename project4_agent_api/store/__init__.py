"""The store: items that graphs and clients keep across threads, with vector search."""
