"""The X-ray of a request: a time line of everything that was done for it, on the page of a development machine."""
