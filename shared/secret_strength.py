"""Recognize secrets that can be guessed: repeated characters, sequences, and placeholders of documentations."""

import re
from itertools import pairwise

_MIN_DISTINCT = 8  # 32 random hexadecimal digits have 14 different ones on average
_LONGEST_UNIT = 16  # characters that a secret may not consist of by repetition
# Letters and digits of well-known placeholders, which stand in many repositories and lists of passwords.
_PLACEHOLDERS = re.compile(
    "changeme|changethis|changeit|replaceme|replacethis|yoursecret|yourjwt|your256bit|mysecret|"
    "supersecret|topsecret|verysecret|secretkey|jwtsecret|secretjwt|astringsecret|example|placeholder|insecure|"
    "password|passw0rd|notasecret|notsosecret|donotuse|qwerty|letmein|correcthorse|"
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"  # FastAPI's tutorial
)


def weakness(secret: str) -> str | None:
    """Return why a secret can be guessed, as the end of a sentence that begins with it; None if nothing is found."""
    if len(set(secret)) < _MIN_DISTINCT:
        return f"has only {len(set(secret))} different characters"
    if any(secret == (secret[:unit] * len(secret))[: len(secret)] for unit in range(1, _LONGEST_UNIT + 1)):
        return "repeats a short text"
    if sum(abs(ord(second) - ord(first)) <= 1 for first, second in pairwise(secret)) > len(secret) / 2:
        return "is a sequence of neighbouring characters"
    if _PLACEHOLDERS.search(re.sub("[^a-z0-9]", "", secret.lower())):
        return "is a placeholder of a documentation"
    return None
