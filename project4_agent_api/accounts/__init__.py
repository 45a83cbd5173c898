"""Accounts: who somebody is, how they show it, and what that locks.

tokens           access tokens (JWT) and refresh tokens (random)
sign_ins         signing in, refreshing, signing out
api_keys         keys for programs
authentication   who sends a request, in one statement
lock             puts routers behind it
attempts         guessing is slow
accounts         what an account is and may do
belongings       what an account takes along when it goes, or takes over
operators        the commands of `python -m project4_agent_api`
"""
