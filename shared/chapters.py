"""Chapters of a stage: programs of their own, each with a part of the stage and the parts before it, for learning."""

from dataclasses import dataclass

from shared.settings import Settings


@dataclass(frozen=True)
class Chapter:
    """A chapter, the module of the same name in the stage's folder `chapters/`.

    Attributes:
        settings: The settings that its process reads. Those that it needs no service for have defaults.
        worker: Whether the stage's worker runs beside it.
    """

    settings: type[Settings]
    worker: bool = False
