"""The choice of a loader by media type.

Each loader imports its library on first use. LangChain's own loaders are not used: importing its `PyPDFLoader` takes
two seconds and numpy, and for each page it lists the labels of all pages; its `CSVLoader` creates a document for each
row, and fails at the first byte that cannot be decoded.
"""

from pathlib import Path

from langchain_core.document_loaders import BaseLoader

from project3_rag_docs.ingestion.parsing import ParseLimits
from project3_rag_docs.ingestion.parsing.base import Loader
from project3_rag_docs.ingestion.parsing.html import HtmlLoader
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from project3_rag_docs.ingestion.parsing.office import DocxLoader, PptxLoader, XlsxLoader
from project3_rag_docs.ingestion.parsing.pdf import PdfLoader
from project3_rag_docs.ingestion.parsing.text import CsvLoader, MarkdownLoader, TextLoader

_LOADERS: dict[MediaType, type[Loader]] = {
    MediaType.PDF: PdfLoader,
    MediaType.DOCX: DocxLoader,
    MediaType.PPTX: PptxLoader,
    MediaType.XLSX: XlsxLoader,
    MediaType.CSV: CsvLoader,
    MediaType.HTML: HtmlLoader,
    MediaType.MARKDOWN: MarkdownLoader,
    MediaType.TEXT: TextLoader,
}


def loader_for(media_type: MediaType, path: Path, limits: ParseLimits | None = None) -> BaseLoader:
    """Return the loader for a file.

    Its `lazy_load()` yields documents whose text is not blank and has at most a million characters, with the metadata
    `page` (from 1, or None) and `heading` ("Guide > Install", or None). It raises `UnreadableDocument` for any fault of
    the file, and `MemoryError` if memory runs out.

    Args:
        limits: Those on pages and unpacked bytes apply. Time, memory and characters are up to the caller.
    """
    return _LOADERS[media_type](path, limits or ParseLimits())
