"""HTTP/1.1 as bytes and decisions: heads, bodies, forwarding rules, our own replies. No sockets, no clock, no awaits.

llhttp (through httptools) judges the grammar of every head; what it leaves open (authority, target form, version,
framing that is legal but ambiguous) is judged here. A request that is ambiguous is refused, never repaired (RFC 9112
§11.2: request smuggling).

Responses come from programs of beginners and agents. One whose meaning RFC 9112 defines is made clean and forwarded
(`repair.py`, and `bodies.py` for chunks). We write every head and every chunk anew, but for chunks that are written exactly
as we would, so what the client reads has one meaning. We send no other request on the backend's connection: bytes that we left
unread there would be taken for the response to that request.
llhttp has lenient modes of its own, which are not used: they take more than what is listed here.

    what is repaired                  how                                    why that is safe
    blanks before a colon             removed                                RFC 9112 §5.1: a proxy MUST
    a folded header line              one blank in place of the fold         RFC 9112 §5.2: a proxy must refuse it or do this
    LF alone at line ends             CRLF                                   RFC 9112 §2.2: a recipient may; to the head's end
    a higher minor version            read as HTTP/1.1                       RFC 9110 §2.5: it is to be read so
    a reason of over 512 bytes        left out                               RFC 9112 §4: clients ignore it
    equal Content-Lengths             one of them                            RFC 9112 §6.3: in several lines or in a list
    leading zeros of a length         removed                                RFC 9110 §8.6: it is a decimal number
    a length beside chunked           the length is removed                  RFC 9112 §6.3: chunked overrides it
    Transfer-Encoding: identity       removed                                RFC 2616 §3.6: it is no coding
    blanks before a chunk extension   the extension is dropped, as always    RFC 9112 §7.1.1: a recipient MUST parse them
    blanks behind a chunk size        removed                                all who take them read the same number
    LF alone at chunk lines           CRLF                                   browsers, curl, nginx do; to the body's end
    LF alone at trailer lines         CRLF                                   RFC 9112 §2.2: a recipient may; to the end
    no empty line behind chunks       added, where the connection is closed  the last chunk has said that all is there

    what stays refused                why
    no HTTP/1 status line             another protocol, HTTP/0.9, or what is left of an earlier response
    odd blanks in the status line     RFC 9112 §4 warns of readers that split it elsewhere
    CR without LF                     some readers end the line there
    LF, and CRLF behind it            an LF inside a value, as header injection leaves it, ends no line for some readers
    NUL and other control characters  some readers end a value there
    a header without colon or name    some readers join it to the line before
    bytes that no name may have       some readers take another name
    a line of blanks                  some readers end the head there
    a fold before the first header    some readers join it to the status line
    a fold in a length or coding      some readers see no value
    Content-Lengths that differ       two places where the body may end
    a length that is no number        readers stop at different digits
    two codings                       chunked once or twice, or a coding that the client was not asked about
    chunked in HTTP/1.0               RFC 9112 §6.1: a reader of HTTP/1.0 passes over it
    a blank before a chunk size       some readers see no size
    LF alone behind an extension      some readers take it for a part of the extension, and look for CRLF
    LF, and CRLF at a later chunk     some readers look for CRLF all along, and find another size
    an end inside a chunk             part of the response is missing
    an end inside the trailers        some of them may be missing
    headers over the limit            64 KiB, and 1000 lines, by default

Which byte of a refused message it was, and which rule it broke, is found out when an operator asks (`refused.py`).

A refused head is 502 `bad_backend_response`, and what was wrong is said on its page, in its JSON and in the log; of a body
that breaks its framing the client sees that it was cut off, and the log says why.
"""
