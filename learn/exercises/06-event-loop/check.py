import asyncio
import threading


def test_questions_are_asked_at_the_same_time(exercise):
    async def run():
        asked = 0
        everybody_asked = asyncio.Event()

        async def ask(question):
            nonlocal asked
            asked += 1
            if asked == 3:
                everybody_asked.set()
            await everybody_asked.wait()  # for ever, if the questions are asked one after the other
            return question.upper()

        async with asyncio.timeout(0.3):
            return await exercise.ask_all(ask, ["a", "b", "c"])

    assert asyncio.run(run()) == ["A", "B", "C"]


def test_answers_are_in_order_of_questions(exercise):
    async def ask(question):
        await asyncio.sleep(0.02 if question == "slow" else 0)
        return question

    assert asyncio.run(exercise.ask_all(ask, ["slow", "fast"])) == ["slow", "fast"]


def test_slow_answer_is_none(exercise):
    async def ask(question):
        await asyncio.sleep(0.3 if question == "slow" else 0)
        return question

    assert asyncio.run(exercise.ask_within(ask, "fast", 0.2)) == "fast"
    assert asyncio.run(exercise.ask_within(ask, "slow", 0.01)) is None


def test_blocking_function_runs_in_another_thread(exercise):
    def slow_hash(password):
        return password, threading.current_thread() is threading.main_thread()

    assert asyncio.run(exercise.hash_password(slow_hash, "secret")) == ("secret", False)
