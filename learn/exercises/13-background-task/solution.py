"""Background tasks: work after the response was sent."""

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()
SENT: list[str] = []


def send_mail(address: str, subject: str) -> None:
    """Stands for a slow call to a mail server."""
    SENT.append(f"{subject} -> {address}")


@app.post("/registrations", status_code=202)
async def register(address: str, tasks: BackgroundTasks) -> dict[str, str]:
    tasks.add_task(send_mail, address, "welcome")
    return {"status": "accepted"}
