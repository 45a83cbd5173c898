"""Tokens of an identity provider, as both services know them. The user keeps the token for calls of other services."""

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> Auth.types.MinimalUserDict:
    scheme, _, name = (authorization or "").partition(" token-of-")
    if scheme != "Bearer" or not name:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Send a token.")
    return {"identity": name, "authorization": authorization}
