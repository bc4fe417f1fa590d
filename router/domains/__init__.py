"""A domain's life, without HTTP or SQL: which names may be registered, by whom, and what state they are in."""
