"""The event loop: many waits at once in one thread."""

import asyncio


async def ask_all(ask, questions):
    """Ask all questions at the same time, and return the answers in the order of the questions."""
    # TODO: `ask(question)` is a coroutine. Do not wait for one before the next is started.
    #       ask(question) 返回协程。不要等一个结束再开始下一个。
    answers = []
    for question in questions:
        answers.append(await ask(question))
    return answers


async def ask_within(ask, question, seconds):
    """Return the answer, or None if it takes too long."""
    # TODO: `asyncio.timeout` ends what takes too long.
    #       用 asyncio.timeout 结束超时的等待。
    return await ask(question)


async def hash_password(slow_hash, password):
    """Call `slow_hash(password)`, an ordinary function that blocks, without stopping the event loop."""
    # TODO: Run it in a thread.
    #       放到线程里执行。
    return slow_hash(password)


if __name__ == "__main__":

    async def ask(question: str) -> str:
        await asyncio.sleep(1)
        return question.upper()

    print(asyncio.run(ask_all(ask, ["a", "b", "c"])))
