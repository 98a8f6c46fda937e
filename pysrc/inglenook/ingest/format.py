"""What a file is: by its first bytes, then by its name."""

from __future__ import annotations

import codecs
import re
from pathlib import PurePosixPath

from inglenook.errors import NookError

# Names of programming languages by file extension.
CODE: dict[str, str] = {
    extension: language
    for language, extensions in {
        "python": "py pyi pyw", "javascript": "js mjs cjs jsx", "typescript": "ts tsx mts cts", "c": "c h",
        "c++": "cc cpp cxx hpp hh hxx ino", "c#": "cs", "java": "java", "kotlin": "kt kts", "scala": "scala sc",
        "go": "go", "rust": "rs", "swift": "swift", "objective-c": "m mm", "ruby": "rb rake gemspec", "php": "php",
        "perl": "pl pm", "lua": "lua", "r": "r", "julia": "jl", "matlab": "mat", "haskell": "hs", "ocaml": "ml mli",
        "f#": "fs fsx", "elixir": "ex exs", "erlang": "erl hrl", "clojure": "clj cljs edn", "lisp": "lisp el scm",
        "dart": "dart", "zig": "zig", "nim": "nim", "d": "d", "fortran": "f f90 f95", "pascal": "pas",
        "ada": "adb ads", "cobol": "cob cbl", "assembly": "s asm", "wat": "wat", "verilog": "v sv", "vhdl": "vhd",
        "shell": "sh bash zsh fish", "powershell": "ps1 psm1", "batch": "bat cmd", "sql": "sql",
        "graphql": "graphql gql",
        "protobuf": "proto", "terraform": "tf", "nix": "nix", "make": "mk makefile", "cmake": "cmake",
        "dockerfile": "dockerfile", "css": "css scss sass less", "vue": "vue", "svelte": "svelte",
        "xml": "xml svg xsl plist",
        "yaml": "yaml yml", "toml": "toml", "ini": "ini cfg conf properties", "groovy": "groovy gradle",
        "solidity": "sol", "coffeescript": "coffee", "awk": "awk", "vim": "vim", "diff": "diff patch",
    }.items()
    for extension in extensions.split()
}  # fmt: skip

_BY_EXTENSION = {
    **dict.fromkeys(CODE, "code"),
    **dict.fromkeys(("md", "markdown", "mdx", "mkd"), "markdown"),
    **dict.fromkeys(("html", "htm", "xhtml"), "html"),
    **dict.fromkeys(("csv", "tsv", "tab"), "csv"),
    **dict.fromkeys(("jsonl", "ndjson", "json", "geojson", "ipynb"), "jsonl"),
    "pdf": "pdf", "docx": "docx", "txt": "text", "text": "text", "log": "text", "rst": "text", "org": "text",
    "tex": "text",
}  # fmt: skip

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "a picture"), (b"\xff\xd8\xff", "a picture"), (b"GIF8", "a picture"), (b"BM", "a picture"),
    (b"II*\0", "a picture"), (b"MM\0*", "a picture"), (b"RIFF", "sound, film or a picture"), (b"ID3", "sound"),
    (b"OggS", "sound or film"), (b"fLaC", "sound"), (b"\x1aE\xdf\xa3", "a film"), (b"\x7fELF", "a program"),
    (b"MZ", "a program"), (b"\0asm", "a program"), (b"\xcf\xfa\xed\xfe", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"\x1f\x8b", "a compressed file"), (b"BZh", "a compressed file"), (b"\xfd7zXZ\0", "a compressed file"),
    (b"7z\xbc\xaf\x27\x1c", "an archive"), (b"Rar!\x1a\x07", "an archive"), (b"\x28\xb5\x2f\xfd", "a compressed file"),
    (b"SQLite format 3\0", "a database"), (b"wOF2", "a font"), (b"%!PS", "PostScript"),
)  # fmt: skip
_HTML = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,999}?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset=[\"' ]{0,2}([\w-]{2,20})", re.I)
_TEXT_BYTES = bytes(range(32, 127)) + b"\t\n\r\f\b\x1b" + bytes(range(128, 256))


def extension_of(path: str) -> str:
    """The extension in lower case, without its dot; a name without one stands for itself ("makefile")."""
    name = PurePosixPath(path.replace("\\", "/").lower()).name
    return name.rpartition(".")[2]


def by_bytes(data: bytes) -> str:
    """The type a file's first bytes tell: "pdf", "zip", "encrypted", "foreign …" for what is no document, else ""."""
    head = data[:1024]
    if b"%PDF-" in head:
        return "pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(_OLE):  # old Office files, and new ones with a password
        secret = "EncryptedPackage".encode("utf-16-le")
        locked = secret in data[:1_000_000] or secret in data[-1_000_000:]
        return "encrypted" if locked else "foreign an old Office file"
    if head.startswith(b"{\\rtf"):
        return "foreign a rich text file"
    for magic, name in _FOREIGN:
        if head.startswith(magic) and (len(magic) > 2 or _is_binary(data)):
            return f"foreign {name}"
    return ""


def by_name(path: str, text: str) -> tuple[str, str]:
    """The type of a text and, for code, its language: by its name, else by its beginning."""
    extension = extension_of(path)
    known = _BY_EXTENSION.get(extension, "")
    looks_html = _HTML.match(text, 0, 4000) is not None
    if known == "code":
        return "code", CODE[extension]
    if looks_html and known != "markdown":
        return "html", ""
    if known and known not in ("pdf", "docx"):
        return known, ""
    if text.startswith("#!"):
        line = text[:80].split("\n", 1)[0]
        for word, language in (("python", "python"), ("node", "javascript"), ("sh", "shell"), ("perl", "perl")):
            if word in line:
                return "code", language
    if text.lstrip()[:1] in ("{", "[") and text.rstrip()[-1:] in ("}", "]"):
        return "jsonl", ""
    return "text", ""


def decode(data: bytes, path: str) -> tuple[str, str]:
    """A file's bytes as text, and a warning or "". Raises NookError("binary")."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
        (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):  # fmt: skip
        if data.startswith(mark):
            text = data[len(mark) :].decode(encoding, "replace")
            if text.count("\ufffd") > len(text) // 20:
                raise _binary(path)
            return text, ""
    wide = _utf16(data)
    if wide:
        return data.decode(wide, "replace"), f"Read as {wide.upper()}, which the file doesn't say."
    if _is_binary(data):
        raise _binary(path)
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError as error:
        if error.start >= len(data) - 3 and error.reason == "unexpected end of data":
            return data[: error.start].decode("utf-8"), "The file ends in the middle of a character."
    said = _CHARSET.search(data[:2048])
    if said and said[1].lower() not in (b"utf-8", b"utf8"):
        try:
            return data.decode(said[1].decode("ascii"), "replace"), ""
        except (LookupError, ValueError, TypeError, AttributeError):  # no such encoding, or none of text
            pass
    return data.decode("cp1252", "replace"), "The file's encoding is not known; read as Windows-1252."


def _binary(path: str) -> NookError:
    return NookError(
        "binary", f"{path} is not text.", "Add PDF, Word (docx), Markdown, HTML, text, code, CSV or JSON files."
    )


def _is_binary(data: bytes) -> bool:
    """Whether more than one byte in fifty is a control character, in the file's beginning or in its middle."""
    for part in (data[:65536], data[len(data) // 2 : len(data) // 2 + 65536]):
        if len(part.translate(None, _TEXT_BYTES)) * 50 > len(part):
            return True
    return False


def _utf16(data: bytes) -> str:
    """The byte order of UTF-16 without a mark: every other byte of most texts is then zero or the same script."""
    head = data[: min(len(data) // 2, 2048) * 2]
    if len(head) < 4:
        return ""
    even, odd = head[::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    for encoding, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if zeros > 0.4 * half and others < 0.05 * half:
            return encoding
    return ""
