# The runner: runs the hooks of services beside the delegate. Build argument BASE: an image with bash, coreutils and glibc 2.36 or newer.
# What hooks call (kubectl, sops, jq, …) belongs into an image made FROM this one; the chart's runner.image names it.
#   cargo build --release --bin sortie-runner && cp target/release/sortie-runner . && docker build -f deploy/runner.Dockerfile .
ARG BASE=debian:bookworm-slim
FROM ${BASE}
COPY sortie-runner /usr/local/bin/sortie-runner
# Another user than the delegate's. Any uid works, with a read-only root file system.
USER 65533:65533
ENTRYPOINT ["/usr/local/bin/sortie-runner"]
