"""Figures. Each is a program that prints them and whose exit status says whether they are as they should be, where
there is such a bound; each starts the servers that it needs, on loopback, and ends them.

    bench.run        what a request costs, ours against other proxies (bench.rate, bench.load … are its parts)
    bench.chaos      what visitors notice when each part of a fleet fails
    bench.changes    from a change to every worker of two nodes; what is dropped for it
    bench.reload     twenty rolling reloads under load, with open WebSockets
    bench.burst      ten thousand cold hosts at once, and who was there before
    bench.cold       cold look-ups of one process, past Redis and through it
    bench.million    a million domains: cold look-ups, what a worker holds, what a warm request costs
    bench.scale      a million domains: cold look-ups in SQL, registration in bulk
"""
