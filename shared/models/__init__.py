"""Language models and embeddings behind one OpenAI-compatible endpoint."""
