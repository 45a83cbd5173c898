"""A document of many passages, and an embedding model that takes only the first of them."""

import re

from tests.support.scripted_model import Behaviour, embeds
from tests.support.scripted_model.connection import Connection

LONG = "\n\n".join(f"# Part {i}\n\n" + f"Part {i} speaks of herons. " * 20 for i in range(60))


def embeds_before(part: int, then: Behaviour) -> Behaviour:
    """Embed the parts before this one; behave otherwise where a request has a later one.

    Requests are not counted: a third batch may be received before the second one, over a connection that exists.
    """
    embed = embeds()

    async def behaviour(connection: Connection) -> None:
        parts = [int(number) for text in connection.seen.body["input"] for number in re.findall(r"Part (\d+)", text)]
        await (then if max(parts, default=0) >= part else embed)(connection)

    return behaviour
