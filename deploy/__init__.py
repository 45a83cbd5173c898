"""Tools for operators. They need only Python's standard library and a container engine."""
