"""Other protocols, as adapters of the runs that exist: a module or a package each, on `conversations.py`."""
