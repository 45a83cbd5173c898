"""Stage 4: accounts, agents and durable runs."""
