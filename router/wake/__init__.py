"""A request for a resource that sleeps has the platform wake it."""
