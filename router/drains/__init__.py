"""Log drains: a tenant's request records, sent on to where it keeps its logs, by HTTPS or syslog."""
