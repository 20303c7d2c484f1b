# The delegate with the programs it calls: git, the ssh client, CA roots, helm and kustomize. Build argument BASE: a
# Debian or Ubuntu image; what it lacks of the first three is installed. helm and kustomize lie in the build context:
# tests/cluster/build-tools.sh builds the pinned versions.
#   cargo build --release --bin sortie-delegate && cp target/release/sortie-delegate ~/.cache/sortie/bin/{helm,kustomize} . && docker build -f deploy/delegate.Dockerfile .
ARG BASE=debian:bookworm-slim
FROM ${BASE}
# libnss-unknown: ssh refuses a user without a name, and the uid may be any.
RUN if ! command -v git >/dev/null || ! command -v ssh >/dev/null || ! [ -s /etc/ssl/certs/ca-certificates.crt ]; then \
      apt-get update && \
      apt-get install -y --no-install-recommends git openssh-client ca-certificates libnss-unknown && \
      rm -rf /var/lib/apt/lists/*; \
    fi
COPY helm kustomize /usr/local/bin/
COPY sortie-delegate /usr/local/bin/sortie-delegate
# Any uid works, with a read-only root file system; /tmp is a volume for check-outs and helm's caches.
USER 65532:65532
# No huge pages for a small daemon, also where the kernel gives them without being asked.
ENV HOME=/tmp MIMALLOC_ALLOW_THP=0
ENTRYPOINT ["/usr/local/bin/sortie-delegate"]
