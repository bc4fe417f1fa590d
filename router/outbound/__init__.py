"""HTTP requests that we send: webhooks, challenges to customers' hosts, health checks of programs."""
