#!/bin/sh
# Starts Prometheus with what `/metrics` wants as a bearer token, from the environment or the folder of secrets. Without
# one the file is empty, and nobody asks for it.
set -eu
umask 077
printf %s "${METRICS_TOKEN:-$(cat /run/secrets/metrics_token 2>/dev/null || true)}" >/tmp/metrics_token
unset METRICS_TOKEN
exec prometheus "$@"
