"""A call without a transport: binding, admission, executors, limits. Knows neither gRPC nor HTTP.

A transport turns bytes and headers into a ServerCall, starts it, and sends the answer that on_done hands it.
"""
