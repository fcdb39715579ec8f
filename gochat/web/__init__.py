"""HTTP/1.1 for browsers and curl: the Connect protocol, gRPC-Web, and the files of the web client (listener.py)."""
