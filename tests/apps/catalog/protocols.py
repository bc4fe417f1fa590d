"""Programs that other programs talk to: tus, git, WebDAV, S3, a Docker registry, MCP, `docker exec`."""

import asyncio
import hashlib
import os
import ssl
import subprocess
from pathlib import Path

from tests.apps.app import App
from tests.apps.site import Site

TUS = """
import { createServer } from 'node:http';
import { Server } from '@tus/server';
import { FileStore } from '@tus/file-store';
const tus = new Server({ path: '/files', datastore: new FileStore({ directory: './uploads' }) });
createServer((request, response) => request.url === '/' ? response.end('ok') : tus.handle(request, response))
  .listen(process.env.PORT, '127.0.0.1');
"""
GIT = """
import os, subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Git(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def serve(self):
        path, _, query = self.path.partition('?')
        length = int(self.headers.get('Content-Length') or 0)
        body = self.rfile.read(length)
        if self.headers.get('Transfer-Encoding') == 'chunked':
            while size := int(self.rfile.readline().split(b';')[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        if path == '/':
            answer, status, headers = b'ok', 200, [('Content-Type', 'text/plain')]
        else:
            done = subprocess.run(['git', 'http-backend'], input=body, capture_output=True, env={**os.environ,
                'GIT_PROJECT_ROOT': os.getcwd(), 'GIT_HTTP_EXPORT_ALL': '1', 'PATH_INFO': path, 'QUERY_STRING': query,
                'REQUEST_METHOD': self.command, 'REMOTE_USER': 'x', 'CONTENT_TYPE': self.headers.get('Content-Type') or '',
                'HTTP_CONTENT_ENCODING': self.headers.get('Content-Encoding') or '', 'CONTENT_LENGTH': str(len(body))})
            head, _, answer = done.stdout.partition(b'\\r\\n\\r\\n')
            headers = [tuple(line.decode().split(': ', 1)) for line in head.split(b'\\r\\n')]
            status = int(next((value for name, value in headers if name == 'Status'), '200').split()[0])
        self.send_response(status)
        for name, value in headers:
            if name != 'Status':
                self.send_header(name, value)
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    do_GET = do_POST = serve
subprocess.run(['git', 'init', '-q', '--bare', 'repository.git'], check=True)
subprocess.run(['git', '-C', 'repository.git', 'config', 'http.receivepack', 'true'], check=True)
ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Git).serve_forever()
"""
WEBDAV = """
import os
from cheroot import wsgi
from wsgidav.wsgidav_app import WsgiDAVApp
from wsgidav.fs_dav_provider import FilesystemProvider
os.makedirs('shared', exist_ok=True)
app = WsgiDAVApp({'provider_mapping': {'/': FilesystemProvider('shared', readonly=False)},
    'simple_dc': {'user_mapping': {'*': True}}, 'verbose': 1})
wsgi.Server(bind_addr=('127.0.0.1', int(os.environ['PORT'])), wsgi_app=app).start()
"""
MCP = """
import os
from mcp.server.fastmcp import FastMCP
mcp = FastMCP('hello', host='0.0.0.0', port=int(os.environ['PORT']))
@mcp.tool()
def greet(name: str) -> str:
    return 'Greetings, ' + name
mcp.run(transport='streamable-http')
"""
REGISTRY = """version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: ./images}}
http: {addr: 127.0.0.1:0, secret: x}
"""
# What `docker exec` does with the daemon: a POST that becomes raw bytes both ways.
EXEC = """
import os, socketserver
class Daemon(socketserver.StreamRequestHandler):
    def handle(self):
        first = self.rfile.readline()
        length = 0
        while (line := self.rfile.readline()) not in (b'\\r\\n', b''):
            name, _, value = line.partition(b':')
            length = int(value) if name.lower() == b'content-length' else length
        self.rfile.read(length)
        if not first.startswith(b'POST'):
            self.wfile.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok')
            return
        self.wfile.write(b'HTTP/1.1 101 UPGRADED\\r\\nContent-Type: application/vnd.docker.raw-stream\\r\\n'
                         b'Connection: Upgrade\\r\\nUpgrade: tcp\\r\\n\\r\\n')
        while data := self.rfile.readline():
            self.wfile.write(b'heard ' + data)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server(('127.0.0.1', int(os.environ['PORT'])), Daemon).serve_forever()
"""


async def resumes(site: Site) -> None:
    """An upload is created at the absolute Location that the server gives, broken off, and resumed."""
    async with site.client() as client:
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "2000000"}
        async with client.post("/files", headers=headers) as response:
            assert response.status == 201, await response.text()
            where = response.headers["Location"]
            assert where.startswith(site.direct_url), where
        for offset in (0, 1_000_000):
            part = {
                "Tus-Resumable": "1.0.0",
                "Upload-Offset": str(offset),
                "Content-Type": "application/offset+octet-stream",
            }
            async with client.patch(where, headers=part, data=b"x" * 1_000_000) as response:
                assert response.status == 204, await response.text()
        async with client.head(where, headers={"Tus-Resumable": "1.0.0"}) as response:
            assert response.headers["Upload-Offset"] == "2000000"


async def command(folder: Path, *words: str, **environment: str) -> str:
    """What a program prints that must succeed."""
    done = await asyncio.to_thread(
        subprocess.run,
        words,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(words)}: {(done.stdout + done.stderr)[-800:]}"
    return done.stdout


async def pushes(site: Site) -> None:
    """git push of some megabytes, and a clone of it."""
    url = f"{site.direct_url}/repository.git"
    git = ("git", "-c", "http.sslVerify=false", "-c", f"http.curloptResolve={site.host}:{site.caddy_port}:127.0.0.1")
    work = site.folder / "work"
    await command(site.folder, "rm", "-rf", "work", "clone")
    await command(site.folder, "git", "init", "-q", "-b", "main", "work")
    (work / "large.bin").write_bytes(os.urandom(3_000_000))
    await command(work, "git", "add", ".")
    await command(work, "git", "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-qm", "first")
    await command(work, *git, "push", "-qf", url, "main")
    await command(site.folder, *git, "clone", "-q", "-b", "main", url, "clone")
    assert (site.folder / "clone" / "large.bin").read_bytes() == (work / "large.bin").read_bytes()


async def moves(site: Site) -> None:
    """PUT, MOVE with a Destination, PROPFIND, LOCK and a conditional DELETE."""
    async with site.client() as client:
        for method, path, headers, status in (
            ("PUT", "/a.txt", {}, (201, 204)),
            ("MOVE", "/a.txt", {"Destination": f"{site.direct_url}/b.txt", "Overwrite": "T"}, (201, 204)),
            ("COPY", "/b.txt", {"Destination": f"{site.direct_url}/c.txt", "Overwrite": "T"}, (201, 204)),
            ("PROPFIND", "/", {"Depth": "1"}, (207,)),
            ("DELETE", "/c.txt", {}, (204,)),
        ):
            body = b"hello" if method == "PUT" else None
            async with client.request(method, path, headers=headers, data=body) as response:
                assert response.status in status, f"{method}: {response.status} {(await response.text())[:300]}"
        async with client.get("/b.txt") as response:
            assert await response.text() == "hello"


async def stores(site: Site) -> None:
    """A bucket, an object, and a signed link to it: the signature covers the host."""
    script = (
        "import boto3, sys, urllib.request, ssl\n"
        "from botocore.config import Config\n"
        f"s3 = boto3.client('s3', endpoint_url='{site.url}', aws_access_key_id='x', aws_secret_access_key='y',"
        " region_name='us-east-1', verify=False, config=Config(s3={'addressing_style': 'path'},"
        f" proxies={{}}))\n"
        "s3.create_bucket(Bucket='bucket-one'); s3.put_object(Bucket='bucket-one', Key='k', Body=b'hello' * 1000)\n"
        "print(len(s3.get_object(Bucket='bucket-one', Key='k')['Body'].read()))\n"
    )
    hosts = (
        "import socket; real = socket.getaddrinfo\n"
        f"socket.getaddrinfo = lambda host, port, *a, **k: real('127.0.0.1', {site.caddy_port} if port == 443 else port, *a, **k)\n"
    )
    said = await command(site.folder, str(site.python), "-W", "ignore", "-c", hosts + script)
    assert said.strip() == "5000", said


async def pushes_image(site: Site) -> None:
    """A layer in two steps at the absolute Location that the registry gives, as `docker push` sends it; then read back."""
    content = os.urandom(2_000_000)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    async with site.client() as client:
        async with client.post("/v2/app/blobs/uploads/") as response:
            assert response.status == 202, await response.text()
            where = response.headers["Location"]
            assert where.startswith(site.direct_url), where
        async with client.patch(where, data=content, headers={"Content-Type": "application/octet-stream"}) as response:
            assert response.status == 202, await response.text()
            where = response.headers["Location"]
        async with client.put(f"{where}&digest={digest}") as response:
            assert response.status == 201, await response.text()
        async with client.get(f"/v2/app/blobs/{digest}") as response:
            assert await response.read() == content


async def calls_a_tool(site: Site) -> None:
    """The Model Context Protocol's messages: a session, a call, each answered in an event stream."""
    headers = {"Accept": "application/json, text/event-stream"}
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "apps", "version": "1"}}
    async with site.client() as client:
        asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about}
        async with client.post("/mcp", json=asked, headers=headers) as response:
            assert response.status == 200, await response.text()
            headers["Mcp-Session-Id"] = response.headers["Mcp-Session-Id"]
        asked = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        async with client.post("/mcp", json=asked, headers=headers) as response:
            assert response.status == 202, await response.text()
        call = {"name": "greet", "arguments": {"name": "Ada"}}
        asked = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}
        async with client.post("/mcp", json=asked, headers=headers) as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            assert "Greetings, Ada" in await response.text()


async def talks(site: Site) -> None:
    """As `docker exec -it` does: a POST with a body and `Upgrade: tcp`, then raw bytes."""
    trust = site.trust
    trust.set_alpn_protocols(["http/1.1"])
    reader, writer = await asyncio.open_connection("127.0.0.1", site.caddy_port, ssl=trust, server_hostname=site.host)
    assert isinstance(writer.get_extra_info("ssl_object"), ssl.SSLObject)
    body = b'{"Tty":true}'
    writer.write(
        b"POST /exec/1/start HTTP/1.1\r\nHost: %b\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (site.host.encode(), len(body), body)
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 101"), head
    for words in (b"ls\n", b"exit\n"):
        writer.write(words)
        assert await asyncio.wait_for(reader.readline(), 10) == b"heard " + words
    writer.close()


APPS = [
    App(
        name="tus",
        title="tus (resumable uploads)",
        npm=("@tus/server@2", "@tus/file-store@2"),
        files={"package.json": '{"private": true, "type": "module"}\n', "server.js": TUS},
        start=("{node}", "server.js"),
        checks={"resumed upload": resumes},
    ),
    App(
        name="git",
        title="git over HTTP",
        files={"server.py": GIT},
        start=("python3", "server.py"),
        checks={"push and clone": pushes},
    ),
    App(
        name="webdav",
        title="WebDAV (WsgiDAV)",
        pip=("wsgidav==4.*", "cheroot==11.*"),
        files={"server.py": WEBDAV},
        start=("{python}", "server.py"),
        checks={"files": moves},
    ),
    App(
        name="s3",
        title="S3 (moto)",
        pip=("moto[s3,server]==5.*",),
        start=("{python}", "-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}"),
        checks={"bucket and object": stores},
        setting="`S3_IGNORE_SUBDOMAIN_BUCKETNAME=true`, else it takes the first label for a bucket",
    ),
    App(
        name="s3-told",
        title="S3 (moto), `S3_IGNORE_SUBDOMAIN_BUCKETNAME=true`",
        pip=("moto[s3,server]==5.*",),
        environment={"S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true"},
        start=("{python}", "-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}"),
        checks={"bucket and object": stores},
        told=True,
    ),
    App(
        name="s3-localhost",
        title="S3 (moto), `host_mode` localhost",
        pip=("moto[s3,server]==5.*",),
        start=("{python}", "-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}"),
        checks={"bucket and object": stores},
        port_settings={"host_modes": "localhost"},
    ),
    App(
        name="registry",
        title="Docker registry",
        apt=("docker-registry",),
        files={"registry.yml": REGISTRY},
        environment={"OTEL_TRACES_EXPORTER": "none"},
        start=("sh", "-c", "REGISTRY_HTTP_ADDR=127.0.0.1:{port} exec docker-registry serve registry.yml"),
        ready="/v2/",
        checks={"image": pushes_image},
    ),
    App(
        name="mcp",
        title="MCP (streamable HTTP)",
        pip=("mcp==1.*",),
        files={"server.py": MCP},
        start=("{python}", "server.py"),
        ready="/mcp",
        checks={"tool": calls_a_tool},
    ),
    App(
        name="docker-exec",
        title="docker exec (POST that upgrades)",
        files={"server.py": EXEC},
        start=("python3", "server.py"),
        checks={"dialogue": talks},
    ),
]
