"""Stage 2: + users and their messages, on PostgreSQL."""
