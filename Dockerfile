# docker build -t gochat . && docker run -p 127.0.0.1:50051:50051 -p 127.0.0.1:8080:8080 -v gochat-data:/data gochat
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml README.md ./
COPY gochat gochat
COPY proto proto
COPY sql sql
RUN python -m venv /gochat && /gochat/bin/pip install --no-cache-dir .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data gochat && install -d -o gochat -g gochat -m 700 /data
COPY --from=build /gochat /gochat
USER 10001
VOLUME /data
EXPOSE 50051 8080
# Inside the container every interface is listened on; what is published, and to whom, `docker run -p` says.
ENV GOCHAT_SERVER_LISTEN=0.0.0.0:50051 GOCHAT_HTTP_LISTEN=0.0.0.0:8080 GOCHAT_SERVER_DATA=/data
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["/gochat/bin/gochat", "health", "--address", "127.0.0.1:50051"]
ENTRYPOINT ["/gochat/bin/gochat"]
# With GOCHAT_TLS_CERT and GOCHAT_TLS_KEY set, other hosts are talked to over TLS all the same.
CMD ["serve", "--insecure"]
