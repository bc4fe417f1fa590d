"""A gRPC server of grpcio, called by grpcio over TLS. Its port's `protocol` is h2c: no program can be asked what it speaks."""

from tests.apps.app import App
from tests.apps.catalog.protocols import command
from tests.apps.site import Site

SERVER = """
import os, time
from concurrent.futures import ThreadPoolExecutor
import grpc
def greet(request, context):
    return b'Greetings, ' + request
def count(request, context):
    for number in range(5):
        yield str(number).encode()
class Calls(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == '/Hello/Greet':
            return grpc.unary_unary_rpc_method_handler(greet)
        if details.method == '/Hello/Count':
            return grpc.unary_stream_rpc_method_handler(count)
server = grpc.server(ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((Calls(),))
server.add_insecure_port('127.0.0.1:' + os.environ['PORT'])
server.start()
server.wait_for_termination()
"""
CLIENT = """
import sys
import grpc
port, host, roots = sys.argv[1:]
channel = grpc.secure_channel('127.0.0.1:' + port, grpc.ssl_channel_credentials(open(roots, 'rb').read()),
    options=[('grpc.ssl_target_name_override', host), ('grpc.default_authority', host)])
print(channel.unary_unary('/Hello/Greet')(b'Ada', timeout=20).decode())
print(b''.join(channel.unary_stream('/Hello/Count')(b'', timeout=20)).decode())
try:
    channel.unary_unary('/Hello/Absent')(b'', timeout=20)
except grpc.RpcError as error:
    print(error.code().name)
"""


async def calls(site: Site) -> None:
    """A call, a stream of answers, and the status of a method that is not there."""
    said = await command(
        *(site.folder, str(site.python), "-c", CLIENT, str(site.caddy_port), site.host, str(site.roots)),
    )
    assert said.split("\n") == ["Greetings, Ada", "01234", "UNIMPLEMENTED", ""], said


APPS = [
    App(
        name="grpc",
        title="gRPC (grpcio), `protocol` h2c",
        pip=("grpcio==1.*",),
        files={"server.py": SERVER},
        start=("{python}", "server.py"),
        checks={"calls": calls},
        port_settings={"protocols": "h2c"},
    ),
]
