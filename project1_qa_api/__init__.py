"""Stage 1: ask a language model."""
