"""The steps from an empty database to the tables that this version needs; `upgrade` takes those that are missing."""
