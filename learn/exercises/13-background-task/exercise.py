"""Background tasks: work after the response was sent."""

from fastapi import BackgroundTasks, FastAPI  # noqa: F401  you need both

app = FastAPI()
SENT: list[str] = []


def send_mail(address, subject):
    """Stands for a slow call to a mail server."""
    SENT.append(f"{subject} -> {address}")


@app.post("/registrations", status_code=202)
async def register(address: str):
    # TODO: Send the mail "welcome" after the response: take `BackgroundTasks` as a parameter, and add a task.
    #       在响应之后发送 "welcome" 邮件：把 BackgroundTasks 作为参数，添加一个任务。
    send_mail(address, "welcome")
    return {"status": "accepted"}
