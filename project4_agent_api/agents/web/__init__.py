"""Reading web pages that somebody names, from inside a network that they must not see."""
