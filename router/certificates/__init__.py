"""Certificates whose keys the router holds: of whole zones, which it orders by ACME, and those that customers bring.

A zone's owner delegates its challenges once (`delegation.py`); then one certificate for all its hosts is ordered before
anybody visits (`planning.py` decides when, `issuing.py` does it, `order.py` has an order's life) and held, encrypted, in the
store (`held.py`). Caddy gets it by `/certificate` of the admin listener. What was *seen* of certificates that Caddy orders
itself is `domains/certificates.py`, something else.
"""
