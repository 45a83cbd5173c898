"""Answers to questions about documents, with citations."""
