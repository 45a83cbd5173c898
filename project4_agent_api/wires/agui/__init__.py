"""AG-UI, the protocol between agents and user interfaces, on the runs that exist."""
