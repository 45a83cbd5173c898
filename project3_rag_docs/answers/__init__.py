"""Answers from documents, with citations."""
