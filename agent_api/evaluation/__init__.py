"""Evaluations: run the examples of a dataset against an assistant, score the answers, and compare two versions."""
