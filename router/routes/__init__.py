"""From a host to a route: records, the precedence chain that decides, the resolver that remembers."""
