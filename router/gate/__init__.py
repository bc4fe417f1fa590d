"""May this name have a certificate? Caddy asks before each issuance, and obeys the status code."""
