"""Stage 2 adds users and their messages, on PostgreSQL."""
