"""Stage 3: + documents, searched and answered from with citations."""
