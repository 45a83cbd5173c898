"""Development only: the launcher, and the services that it starts where no address is given.

Nothing that is served in production imports this package.
"""
