"""Chapters of stage 3. `make run-project3 CHAPTER=vectors` runs the first; the stage itself is the second."""

from collections.abc import Mapping

from project3_rag_docs.settings import Settings
from shared.chapters import Chapter

CHAPTERS: Mapping[str, Chapter] = {"vectors": Chapter(Settings)}
