"""The settings of stage 3."""

from pydantic import Field, SecretStr

from project2_user_mgmt.settings import Settings as Stage2Settings
from shared.settings import HttpAddress

MIB = 1024 * 1024


class Settings(Stage2Settings):
    """What stage 3 can be told besides what stage 2 can be told."""

    port: int = Field(default=8003, ge=0, le=65535)

    embedding_model: str = Field(min_length=1, description="A change needs `make reindex-project3`.")
    embedding_dimensions: int = Field(default=384, ge=1, le=4000, description="Numbers in one of its vectors.")
    embedding_base_url: HttpAddress | None = Field(
        default=None, description="Where another endpoint than OPENAI_BASE_URL has the embedding model."
    )
    embedding_api_key: SecretStr = SecretStr("")
    embedding_query_prefix: str | None = Field(
        default=None,
        description='What the model wants before a question; not given: "query: " for models of the E5 family.',
    )
    embedding_passage_prefix: str | None = Field(default=None, description='Likewise before a passage: "passage: ".')
    embedding_batch_size: int = Field(default=16, ge=1, le=2048, description="Passages of one call.")

    rerank_base_url: HttpAddress | None = Field(
        default=None, description="An endpoint with `/rerank` in the form of Jina and Cohere; without it, rank fusion."
    )
    rerank_model: str = ""
    rerank_api_key: SecretStr = SecretStr("")
    rerank_timeout_seconds: float = Field(
        default=5, gt=0, description="After it the fused ranks are taken as they are."
    )

    max_upload_mb: int = Field(default=50, ge=1, le=1024, description="Largest file, in MiB; beyond it is 413.")
    max_document_characters: int = Field(default=5_000_000, ge=1000, description="Largest text of one document.")
    parse_timeout_seconds: float = Field(default=60, gt=0, description="How long reading one file may take.")
    parse_memory_mb: int = Field(default=256, ge=64, description="How much memory reading one file may take, in MiB.")
    ingestion_concurrency: int = Field(default=2, ge=1, le=64, description="Documents that a process works on at once.")
    ingestion_patience_seconds: float = Field(
        default=600, gt=0, description="How long a document waits for an embedding model that is away."
    )

    @property
    def max_upload_bytes(self) -> int:
        """The largest file."""
        return self.max_upload_mb * MIB

    def query_prefix(self) -> str:
        """What stands before a question that is embedded."""
        given = self.embedding_query_prefix
        return given if given is not None else "query: " if self._is_e5() else ""

    def passage_prefix(self) -> str:
        """What stands before a passage that is embedded."""
        given = self.embedding_passage_prefix
        return given if given is not None else "passage: " if self._is_e5() else ""

    def _is_e5(self) -> bool:
        # https://huggingface.co/intfloat/multilingual-e5-small#faq; the instruct models want something else.
        name = self.embedding_model.lower()
        return "e5-" in name and "instruct" not in name
