"""Errors: `HTTPException`, and one shape for all of them."""

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

app = FastAPI()
BALANCES = {"ada": 10}


class InsufficientFunds(Exception):
    """An account has less than is asked of it. The domain knows nothing about HTTP."""

    def __init__(self, missing: int) -> None:
        super().__init__(f"{missing} missing")
        self.missing = missing


def withdraw(name: str, amount: int) -> None:
    if amount > BALANCES[name]:
        raise InsufficientFunds(amount - BALANCES[name])
    BALANCES[name] -= amount


@app.post("/accounts/{name}/withdrawals")
async def create_withdrawal(name: str, amount: int) -> dict[str, int]:
    if name not in BALANCES:
        raise HTTPException(404, f"no account {name}")
    withdraw(name, amount)
    return {"balance": BALANCES[name]}


@app.exception_handler(InsufficientFunds)
async def on_insufficient_funds(_request: Request, error: InsufficientFunds) -> JSONResponse:
    return JSONResponse({"title": "Insufficient funds", "missing": error.missing}, 409)
