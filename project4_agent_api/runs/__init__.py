"""The way of a run, from the request to its result.

service       stores a run for the API
claims        claims a run for a worker, under a lease
execution     executes its graph
finishing     stores the outcome
subscription  follows it for a client
"""
