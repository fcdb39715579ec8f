"""The metrics of a running server, exported for Prometheus, with a dashboard and alert rules for them."""
