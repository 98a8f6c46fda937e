"""Small files of every format, made in code: what the ingest tests read."""

from __future__ import annotations

import io
import zipfile
from xml.sax.saxutils import escape

Line = tuple[float, float, float, str]  # x, y (points from the bottom left), font size, text


def pdf(pages: list[list[Line]], *, title: str = "", rotate: int = 0, encrypt: bool = False) -> bytes:
    """A PDF with these lines of Helvetica on Letter pages."""
    objects: list[bytes] = []

    def put(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    put(b"<< /Type /Catalog /Pages 2 0 R >>")
    put(b"")  # the page tree, below
    put(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    kids = []
    for lines in pages:
        code = b"BT\n"
        for x, y, size, text in lines:
            data = text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
            code += b"/F %g Tf 1 0 0 1 %g %g Tm (" % (size, x, y) + data + b") Tj\n"
        code += b"ET"
        stream = put(b"<< /Length %d >>\nstream\n" % len(code) + code + b"\nendstream")
        kids.append(
            put(
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Rotate %d "
                b"/Resources << /Font << /F 3 0 R >> >> /Contents %d 0 R >>" % (rotate, stream)
            )
        )
    refs = b" ".join(b"%d 0 R" % kid for kid in kids)
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), refs)
    info = put(b"<< /Title (%s) >>" % title.encode("cp1252")) if title else 0
    out = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R" % (len(objects) + 1)
    if info:
        out += b" /Info %d 0 R" % info
    if encrypt:  # a user password that nobody knows: no password gives this /U
        key = b"<" + b"41" * 32 + b">"
        out += b" /ID [<00><00>] /Encrypt << /Filter /Standard /V 1 /R 2 /O " + key + b" /U " + key + b" /P -4 >>"
    return out + b" >>\nstartxref\n%d\n%%%%EOF\n" % start


def paragraph(text: str, x: float, y: float, size: float = 11, leading: float = 13) -> list[Line]:
    """The lines of a text, set one below the other from `y` down."""
    return [(x, y - leading * i, size, line) for i, line in enumerate(text.split("\n"))]


W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
STYLES = f"""<?xml version="1.0"?><w:styles {W}>
<w:style w:type="paragraph" w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>
<w:style w:type="paragraph" w:styleId="Heading2"><w:name w:val="heading 2"/></w:style>
<w:style w:type="paragraph" w:styleId="Titel"><w:name w:val="Title"/></w:style>
</w:styles>"""


def zipped(files: dict[str, str | bytes]) -> bytes:
    """A zip of these files, deflated."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def word(text: str, style: str = "", level: int | None = None) -> str:
    """One paragraph of WordprocessingML; `level` makes it a list item."""
    properties = f'<w:pStyle w:val="{style}"/>' if style else ""
    if level is not None:
        properties += f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="1"/></w:numPr>'
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t xml:space='preserve'>{escape(text)}</w:t></w:r></w:p>"


def word_table(rows: list[list[str]]) -> str:
    """A table of WordprocessingML."""
    cells = "".join("<w:tr>" + "".join(f"<w:tc>{word(cell)}</w:tc>" for cell in row) + "</w:tr>" for row in rows)
    return f"<w:tbl>{cells}</w:tbl>"


def docx(*body: str, title: str = "", prolog: str = "", **more: str | bytes) -> bytes:
    """A DOCX with these paragraphs and tables."""
    files: dict[str, str | bytes] = {
        "[Content_Types].xml": "<Types/>",
        "word/document.xml": (
            f'<?xml version="1.0"?>{prolog}<w:document {W}><w:body>{"".join(body)}</w:body></w:document>'
        ),
        "word/styles.xml": STYLES,
    }
    if title:
        files["docProps/core.xml"] = (
            '<cp:coreProperties xmlns:cp="x" xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f"<dc:title>{escape(title)}</dc:title></cp:coreProperties>"
        )
    return zipped(files | more)
