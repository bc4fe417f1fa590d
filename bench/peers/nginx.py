"""nginx as a static reverse proxy with a buffered JSON access log in a file."""

from pathlib import Path

from tests.support.processes import Process

_CONFIG = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
  log_format line escape=json '{{"ts":"$time_iso8601","request_id":"$request_id","client":"$remote_addr",'
    '"method":"$request_method","host":"$host","path":"$request_uri","status":$status,"bytes_in":$request_length,'
    '"bytes_out":$body_bytes_sent,"duration":$request_time,"backend":"$upstream_addr","ua":"$http_user_agent"}}';
  access_log {folder}/nginx-access.log line buffer=64k flush=1s;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  keepalive_requests 100000000;
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Request-ID $request_id;
    }}
  }}
}}
"""


def start(folder: Path, port: int, backend: int) -> Process:
    """nginx listening on `port`, proxying to `backend`."""
    file = folder / "nginx.conf"
    file.write_text(_CONFIG.format(port=port, folder=folder, backend=backend))
    return Process(["nginx", "-c", file, "-p", folder], folder / "nginx.log")
