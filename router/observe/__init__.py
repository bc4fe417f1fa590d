"""What happened: one line per exchange, every metric in one table, structured logs."""
