"""Dependencies: what a handler needs, given to it for one request."""

from fastapi import Depends, FastAPI, Header  # noqa: F401  you need them

app = FastAPI()
EVENTS: list[str] = []


class Connection:
    """Stands for a connection to a database."""

    def __init__(self):
        EVENTS.append("open")

    def close(self):
        EVENTS.append("close")

    def user_of(self, token):
        return {"secret": "ada"}.get(token)


async def get_connection():
    # TODO: Yield a connection, and close it after the request, also if the handler failed.
    #       产出一个连接，请求结束后关闭它，处理函数出错时也要关。
    yield None


# TODO: `get_user` depends on the connection, takes the header `X-Token` (`x_token: str`), and returns the user.
#       get_user 依赖连接，读取请求头 X-Token（x_token: str），返回用户。


@app.get("/me")
async def me():
    # TODO: Take the user and the connection as dependencies. There is one connection for a request, however many need it.
    #       以依赖的方式取得用户和连接。一个请求只有一个连接，不管多少处用到它。
    return {"user": None, "connected": False}
