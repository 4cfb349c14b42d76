"""Whether a request comes from a page of another site, in a browser that may be signed in here."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers


def is_foreign(method: str, headers: Headers) -> bool:
    """Whether another site asks: its scripts, its forms, or a frame in it. A link may lead here.

    Gradio would answer, and hand the answer over if its host is not this machine. Browsers say
    whence a request comes by Sec-Fetch-Site (https://www.w3.org/TR/fetch-metadata), over plain
    http from another machine only by Origin; other programs send neither.
    """
    site = headers.get("sec-fetch-site")
    if site is None:
        origin = headers.get("origin")
        return origin is not None and urlsplit(origin).netloc not in _own_names(headers)
    if site in ("same-origin", "none"):
        return False
    goes = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest"))
    return method not in ("GET", "HEAD") or goes != ("navigate", "document")


def _own_names(headers: Headers) -> set[str]:
    """What this page is called by whoever opened it; a proxy may call it otherwise."""
    return {headers.get("host", ""), headers.get("x-forwarded-host", "")} - {""}
