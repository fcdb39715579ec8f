"""What a running server tells of itself to Prometheus, with a dashboard and alert rules for it."""
