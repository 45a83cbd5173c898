"""Errors: `HTTPException`, and one shape for all of them."""

from fastapi import FastAPI, HTTPException  # noqa: F401  you need both

app = FastAPI()
BALANCES = {"ada": 10}


class InsufficientFunds(Exception):
    """An account has less than is asked of it. The domain knows nothing about HTTP."""

    def __init__(self, missing):
        super().__init__(f"{missing} missing")
        self.missing = missing


def withdraw(name, amount):
    if amount > BALANCES[name]:
        raise InsufficientFunds(amount - BALANCES[name])
    BALANCES[name] -= amount


@app.post("/accounts/{name}/withdrawals")
async def create_withdrawal(name: str, amount: int):
    # TODO: Answer 404 with the detail "no account NAME" if there is none.
    #       账户不存在时返回 404，detail 为 "no account NAME"。
    withdraw(name, amount)
    return {"balance": BALANCES[name]}


# TODO: Make every InsufficientFunds the status 409 with the body {"title": "Insufficient funds", "missing": …}. The handler
#       above stays as it is.
#       让每个 InsufficientFunds 都变成 409，响应体为 {"title": "Insufficient funds", "missing": …}，不要改动上面的处理函数。
