"""The web client: the files in the folder static, read into memory at the start."""

import hashlib
import mimetypes
from pathlib import Path

from gochat.web.messages import MIN_COMPRESSED, Headers, Request, Response, accepts_gzip, compress

FOLDER = Path(__file__).parent / "static"
INDEX = "index.html"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_SECURITY: Headers = (
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
)
_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".ts": "text/plain",
    ".webmanifest": "application/manifest+json",
}
_PACKED = {".png", ".jpg", ".webp", ".woff2", ".gz"}  # compressed already


class _File:
    """What is sent: a client asks each time whether its copy is still the same (no-cache), by the ETag."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.data = data
        self.tag = f'"{hashlib.sha256(self.data).hexdigest()[:32]}"'
        packed = compress(self.data) if len(self.data) >= MIN_COMPRESSED and path.suffix not in _PACKED else b""
        self.gzip = packed if len(packed) < len(self.data) else b""
        kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if kind.startswith("text/") or kind in ("application/json", "image/svg+xml", "application/manifest+json"):
            kind += "; charset=utf-8"
        self.headers: Headers = (
            ("content-type", kind),
            ("etag", self.tag),
            ("cache-control", "no-cache"),
            ("vary", "accept-encoding"),
            *_SECURITY,
        )


class Files:
    def __init__(self, folder: Path = FOLDER) -> None:
        paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
        contents = {path.relative_to(folder): path.read_bytes() for path in sorted(paths)}
        self._files = {_url(path): _File(path, data) for path, data in contents.items()}

    def response(self, request: Request) -> Response:
        """request: by GET or HEAD."""
        file = self._files.get(request.path)
        if file is None:
            return Response(404, (("content-type", "text/plain"), *_SECURITY), b"not found\n")
        if _matches(request.named.get("if-none-match", ""), file.tag):
            return Response(304, file.headers)
        if file.gzip and accepts_gzip(request.named.get("accept-encoding", "")):
            return Response(200, (*file.headers, ("content-encoding", "gzip")), file.gzip)
        return Response(200, file.headers, file.data)


def _url(path: Path) -> str:
    return f"/{path.as_posix()}".removesuffix(INDEX) if path.name == INDEX else f"/{path.as_posix()}"


def _matches(tags: str, tag: str) -> bool:
    return tags == "*" or tag in (each.strip().removeprefix("W/") for each in tags.split(","))
