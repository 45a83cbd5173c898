"""Background jobs stored in PostgreSQL, and notifications between processes."""
