"""Development only: the launcher, and the services that it starts for missing addresses.

Nothing that is served in production imports this package.
"""
