"""The settings of stage 3."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from project2_user_mgmt.settings import Settings as Stage2Settings
from project3_rag_docs.ingestion import recognition
from project3_rag_docs.ingestion.parsing import ParseLimits
from shared.settings import ExtraFields, HttpAddress

MIB = 1024 * 1024
_EMBEDDED_DIMENSIONS = 384  # of the embedded model
_MAX_DIMENSIONS = 4000  # of pgvector's index over `halfvec`


def _indexable(dimensions: int) -> int:
    if dimensions > _MAX_DIMENSIONS:
        raise ValueError(
            f"the index takes at most {_MAX_DIMENSIONS:,}; the endpoint is asked for shorter vectors if this is smaller"
        )
    return dimensions


class Settings(Stage2Settings):
    """The settings of stage 2, plus those for documents."""

    port: int = Field(default=8003, ge=0, le=65535, description="Port to listen on.")

    embedding_model: str = Field(
        min_length=1, description="Name of the embedding model. Changing it requires `make reindex-project3`."
    )
    embedding_dimensions: Annotated[int, AfterValidator(_indexable)] = Field(
        default=_EMBEDDED_DIMENSIONS, ge=1, description="Dimensions of the vectors, at most 4,000."
    )
    embedding_matryoshka: bool | None = Field(
        default=None,
        description="Whether longer vectors may be shortened: `true` if the model was trained for it, `false` never. "
        "Default: the endpoint is asked for shorter ones if EMBEDDING_DIMENSIONS is not 384, and decides.",
    )
    embedding_extra_body: ExtraFields = Field(
        default={}, description="Fields of every embedding request, as a JSON object; `null` removes one."
    )
    embedding_base_url: HttpAddress | None = Field(
        repr=False, default=None, description="Endpoint of the embedding model, if it is not OPENAI_BASE_URL."
    )
    embedding_api_key: SecretStr = Field(default=SecretStr(""), description="API key of EMBEDDING_BASE_URL.")
    embedding_query_prefix: str | None = Field(
        default=None,
        description='Prefix that the model expects before a question. Default: "query: " for models of the E5 family.',
    )
    embedding_passage_prefix: str | None = Field(
        default=None,
        description='Prefix that the model expects before a passage. Default: "passage: " for models of the E5 family.',
    )
    embedding_batch_size: int = Field(default=16, ge=1, le=2048, description="Passages per embedding call.")

    rerank_base_url: HttpAddress | None = Field(
        repr=False,
        default=None,
        description="Endpoint with `/rerank` in the format of Jina and Cohere. Default: no reranking.",
    )
    rerank_model: str = Field(default="", description="Name of the reranking model, if the endpoint needs one.")
    rerank_api_key: SecretStr = Field(default=SecretStr(""), description="API key of RERANK_BASE_URL.")
    rerank_timeout_seconds: float = Field(
        default=5, gt=0, description="Timeout of reranking, after which the fused order is kept."
    )

    answer_min_score: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Minimum score of the best passage. Below it, the answer is that the documents do not say; 0 "
        "always calls the model.",
    )

    summary_concurrency: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Concurrent calls of the model for parts of documents to summarize, per process.",
    )

    max_upload_mb: int = Field(
        default=50, ge=1, le=1024, description="Maximum file size in MiB; larger ones get a 413."
    )
    max_document_characters: int = Field(default=5_000_000, ge=1000, description="Maximum text length of one document.")
    download_timeout_seconds: float = Field(default=60, gt=0, description="Maximum time to download a file.")
    archive_max_files: int = Field(default=500, ge=1, le=10_000, description="Maximum files in one ZIP archive.")
    archive_max_unpacked_mb: int = Field(
        default=500, ge=1, description="Maximum size of all files of an archive, in MiB."
    )
    parse_timeout_seconds: float = Field(default=60, gt=0, description="Maximum time to parse one file.")
    parse_memory_mb: int = Field(default=256, ge=64, description="Maximum memory to parse one file, in MiB.")
    ocr_enabled: bool | None = Field(
        default=None,
        description="Recognise the text of pages that are images; needs the extra `ocr`. Default: if it is installed "
        "and the machine has 4 GiB of memory.",
    )
    ocr_page_seconds: float = Field(default=120, gt=0, description="Maximum time to recognise a page.")
    ocr_max_pages: int = Field(default=200, ge=1, description="Maximum pages recognised of one document.")
    ocr_memory_mb: int = Field(default=2048, ge=1024, description="Maximum memory to recognise text, in MiB.")
    ingestion_concurrency: int = Field(default=3, ge=1, le=64, description="Documents ingested at once per process.")
    user_ingestion_max: int = Field(
        default=2, ge=1, le=64, description="Maximum documents of one user that are ingested at once, by all processes."
    )
    user_documents_waiting_max: int = Field(
        default=100,
        ge=1,
        description="Maximum documents of one user that wait or are ingested; further ones get a 429.",
    )
    ingestion_patience_seconds: float = Field(
        default=600, gt=0, description="Seconds to retry an unavailable embedding model before a document fails."
    )

    @property
    def max_upload_bytes(self) -> int:
        """The maximum size of a file in bytes."""
        return self.max_upload_mb * MIB

    def parse_limits(self) -> ParseLimits:
        """Return the limits for reading a file."""
        return ParseLimits(
            seconds=self.parse_timeout_seconds,
            memory_bytes=self.parse_memory_mb * MIB,
            characters=self.max_document_characters,
        )

    def recognises_text(self) -> bool:
        """Return whether the text of scanned pages is recognised."""
        return recognition.is_recommended() if self.ocr_enabled is None else self.ocr_enabled

    def may_shorten_vectors(self) -> bool | None:
        """Return whether longer vectors may be shortened; None if the endpoint decides."""
        if self.embedding_matryoshka is None and self.embedding_dimensions == _EMBEDDED_DIMENSIONS:
            return False  # the default, which nobody has chosen for this model
        return self.embedding_matryoshka

    def query_prefix(self) -> str:
        """Return the prefix for questions."""
        prefix = self.embedding_query_prefix
        return prefix if prefix is not None else "query: " if self._is_e5() else ""

    def passage_prefix(self) -> str:
        """Return the prefix for passages."""
        prefix = self.embedding_passage_prefix
        return prefix if prefix is not None else "passage: " if self._is_e5() else ""

    def _is_e5(self) -> bool:
        # https://huggingface.co/intfloat/multilingual-e5-small#faq; the instruct models expect another format.
        name = self.embedding_model.lower()
        return "e5-" in name and "instruct" not in name
