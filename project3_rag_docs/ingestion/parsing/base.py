"""The base class of the loaders, one per file format, behind LangChain's `BaseLoader`."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from project3_rag_docs.ingestion.parsing import ParseLimits, UnreadableDocument
from project3_rag_docs.ingestion.parsing.decoding import remove_control_characters
from project3_rag_docs.ingestion.parsing.sections import Section, split_long


class Loader(BaseLoader):
    """Turns the sections of a file into documents, and the errors of its library into `UnreadableDocument`.

    Attributes:
        kind: The format, as error messages name it.
        notices: Sentences for the user on unreadable content; complete when the last document was yielded.
        unreadable_pages: The pages without usable text, likewise; OCR may read them.
    """

    kind: ClassVar[str]

    def __init__(self, path: Path, limits: ParseLimits, recognised: Mapping[int, str] | None = None) -> None:
        self.notices: list[str] = []
        self.unreadable_pages: list[int] = []
        self._path = path
        self._limits = limits
        self._recognised = recognised or {}

    @abstractmethod
    def _sections(self) -> Iterator[Section]:
        """Yield the sections, including blank ones. Any exception may be raised."""

    def lazy_load(self) -> Iterator[Document]:
        """Yield the sections that have text."""
        try:
            for section in self._sections():
                heading = remove_control_characters(section.heading or "") or None
                metadata = {"page": section.page, "heading": heading, "recognised": section.recognised}
                metadata["table"] = section.table
                for part in split_long([remove_control_characters(section.text)]):
                    if text := part.strip("\n").rstrip():
                        yield Document(text, metadata=metadata)
        except (UnreadableDocument, MemoryError):
            raise
        except RecursionError as error:
            raise UnreadableDocument(f"The {self.kind} is nested too deeply.") from error
        except Exception as error:
            if _is_out_of_memory(error):
                raise MemoryError from error
            raise UnreadableDocument(f"The {self.kind} cannot be read; it is damaged or incomplete.") from error


def _is_out_of_memory(error: Exception) -> bool:
    in_libxml2 = type(error).__name__ == "XMLSyntaxError" and getattr(error, "code", 0) == 2  # XML_ERR_NO_MEMORY
    return in_libxml2 or "out of memory" in str(error)
