from pydantic import BaseModel, Field


class Configuration(BaseModel):
    breadth: int = Field(default=2, ge=1)
