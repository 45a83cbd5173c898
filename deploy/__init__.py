"""Tools for whoever runs the service: they need Python and a container engine, and nothing that is installed."""
