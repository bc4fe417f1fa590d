"""HTTP/2 (RFC 9113) as bytes and decisions: frames and streams, and heads as they stand in HTTP/1.1. No sockets, no clock."""
