"""Diagnosing a domain: what DNS shows now, and which record to add, change or delete."""
