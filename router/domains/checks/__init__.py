"""Checking a domain: what DNS shows of it, what that proves, and when to check again."""
