"""A call without a transport: binding, admission, executors, limits. Knows neither gRPC nor HTTP.

A transport turns bytes and headers into a ServerCall, starts it (executors.start), and sends the answer once the call
reports that it is done (Transport.on_done).
"""
