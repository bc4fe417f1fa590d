"""A site: a page with its style, script and picture, and an upload that is counted and hashed as it streams in."""

import hashlib
from pathlib import Path

from aiohttp import BodyPartReader, web

from router.demo.sandboxes import serve

SITE = Path(__file__).with_name("site")
CHUNK = 256 * 1024


async def home(_request: web.Request) -> web.FileResponse:
    return web.FileResponse(SITE / "index.html")


async def upload(request: web.Request) -> web.Response:
    """A form's file, or a bare body: its size and SHA-256, without ever holding more than a chunk of it."""
    digest, size, name = hashlib.sha256(), 0, None
    if request.content_type == "multipart/form-data":
        part = await (await request.multipart()).next()
        if not isinstance(part, BodyPartReader):
            return web.json_response({"error": "the form has no file"}, status=400)
        name = part.filename
        while chunk := await part.read_chunk(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    else:
        async for chunk in request.content.iter_chunked(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return web.json_response({"name": name, "size": size, "sha256": digest.hexdigest()})


def app() -> web.Application:
    site = web.Application(client_max_size=0)
    site.router.add_get("/", home)
    site.router.add_post("/upload", upload)
    site.router.add_put("/upload", upload)
    site.router.add_static("/assets", SITE)
    return site


if __name__ == "__main__":
    serve(app())
