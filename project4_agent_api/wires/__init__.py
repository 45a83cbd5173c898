"""Other protocols on the same runs: one package each, which converts requests and events, on `conversations.py`."""
