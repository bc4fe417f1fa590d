"""The programs, one file each; `APPS` in each file."""
