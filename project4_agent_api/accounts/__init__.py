"""Accounts: authentication of requests, signing in, and deletion of an account with its data.

routes, schemas   the API: `/auth`
service           roles, password changes, deactivation
sign_ins          signing in, rotating refresh tokens, signing out
tokens            access tokens (JWT) and refresh tokens (random)
api_keys          keys for programs
oauth             programs that sign in through a browser
guards            routers that need authentication, and routers that do not
authenticator     credentials and rate limit of a request
principals        the queries that resolve a credential to an account
principal_cache   their results, invalidated in all processes at once
login_throttle    limits on guessing passwords
deletion          deletion of an account's data
adoption, cli     the commands of `python -m project4_agent_api`
"""
