"""Benchmarks: `make bench`, or `python -m bench project1` for one part. The results are in README.md."""
