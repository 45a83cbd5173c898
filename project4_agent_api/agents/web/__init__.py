"""Fetch web pages for users, without exposing the internal network that the service runs in."""
