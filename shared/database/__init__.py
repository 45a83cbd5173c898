"""PostgreSQL: the engine and its sessions, the driver's connections, migrations."""
