"""Measurements: `make bench`, or `python -m bench project1` for one part. The figures are in README.md."""
