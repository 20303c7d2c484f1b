# The sample application of the tests and the demo. Build argument BASE: any image with glibc 2.36 or newer.
#   cargo build --bin sortie-sample && cp target/debug/sortie-sample . && docker build -f deploy/sample.Dockerfile --build-arg VERSION=v1 .
ARG BASE=debian:bookworm-slim
FROM ${BASE}
COPY sortie-sample /usr/local/bin/sortie-sample
ARG VERSION=v1
# 1: the broken version, which ends at its start.
ARG CRASH=0
ENV VERSION=${VERSION} CRASH=${CRASH}
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/sortie-sample"]
