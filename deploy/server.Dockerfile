# The control plane. Build argument BASE: any image with glibc 2.36 or newer; nothing else of it is used.
#   cargo build --release --bin sortie-server && cp target/release/sortie-server . && docker build -f deploy/server.Dockerfile .
ARG BASE=debian:bookworm-slim
FROM ${BASE}
COPY sortie-server /usr/local/bin/sortie-server
# Any uid works, with a read-only root file system; the data lies on a volume.
USER 65532:65532
# No huge pages for a small daemon, also where the kernel gives them without being asked.
ENV HOME=/tmp MIMALLOC_ALLOW_THP=0
ENTRYPOINT ["/usr/local/bin/sortie-server"]
