"""A document that takes a while to read."""

LONG = "\n\n".join(f"# Part {i}\n\n" + f"Part {i} speaks of herons. " * 20 for i in range(60))
