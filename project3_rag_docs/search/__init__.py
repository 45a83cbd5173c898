"""Hybrid search: BM25 and vectors, fused and reranked."""
