import asyncio

from fastapi.testclient import TestClient


def test_mail_is_sent(exercise):
    answer = TestClient(exercise.app).post("/registrations", params={"address": "ada@example.com"})
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    assert exercise.SENT == ["welcome -> ada@example.com"]


def test_response_is_sent_before_the_mail(exercise):
    sent_before = []

    async def run():
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/registrations",
            "query_string": b"address=ada@example.com",
            "headers": [],
        }

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            if message["type"] == "http.response.body":
                sent_before.extend(exercise.SENT)

        await exercise.app(scope, receive, send)

    asyncio.run(run())
    assert sent_before == []
    assert len(exercise.SENT) == 1
