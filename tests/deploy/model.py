"""The scripted model, as a container of the stack: questions select behaviours. `python -m tests.deploy.model`."""

import re
import signal
import threading

from tests.support.scripted_model import Connection, ScriptedModel, calls, says

_PACED = re.compile(r"(\d+) words, (\d+) ms apart")


async def does_as_asked(connection: Connection) -> None:
    """Say so many words at such a pace, call the calculator, or say hello."""
    messages = connection.seen.body["messages"]
    asked = next(str(message["content"]) for message in reversed(messages) if message["role"] == "user")
    if paced := _PACED.search(asked):
        words, gap = int(paced[1]), int(paced[2])
        await says(" ".join(f"word{number}" for number in range(words)), 1000 / gap)(connection)
    elif "17 * 23" in asked and messages[-1]["role"] == "user":
        await calls(("calculator", '{"expression": "17 * 23"}'))(connection)
    elif messages[-1]["role"] == "tool":
        await says(f"The tool said {messages[-1]['content']}.")(connection)
    else:
        await says("Within 45 days of delivery [1].")(connection)


if __name__ == "__main__":
    model = ScriptedModel("0.0.0.0", 8000)  # it is asked from other containers
    model.does(does_as_asked)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
    model.close()
