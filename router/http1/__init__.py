"""HTTP/1.1 as bytes and decisions: heads, bodies, forwarding rules, our own replies. No sockets, no clock, no awaits.

llhttp (through httptools) judges the grammar of every head; what it leaves open (authority, target form, version,
framing that is legal but ambiguous) is judged here, always the strict way (RFC 9112 §11.2: request smuggling).
"""
