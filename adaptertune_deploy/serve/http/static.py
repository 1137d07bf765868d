"""Answers whose bytes are known beforehand: revalidated by their hash, and with no right to reach anything else."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from adaptertune_deploy.core.storage import files

# The page takes scripts, styles, images and answers from this server alone, and shows itself in nobody's frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Kept, and asked about each time: a newer release shows itself at once.
    "Cache-Control": "no-cache",
}


def answer(request: Request, data: bytes, media_type: str, vary: str | None = None) -> Response:
    """Return bytes with their hash as ETag, or 304 to who has them already.

    Args:
        request: the request; its If-None-Match is compared.
        data: the whole body.
        media_type: its type.
        vary: the request header on which the answer depends.
    """
    etag = f'"{files.sha256_bytes(data)[:32]}"'
    headers = {**HEADERS, "ETag": etag, **({"Vary": vary} if vary else {})}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=media_type)
