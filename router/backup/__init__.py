"""Whole stores: copies from one database to another, backups in a file, and what has to be put right after a restore."""
