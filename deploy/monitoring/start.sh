#!/bin/sh
# Start Prometheus with the bearer token for `/metrics`, from the environment or the folder of secrets. Without a token
# the file is empty and `/metrics` is public.
set -eu
umask 077
printf %s "${METRICS_TOKEN:-$(cat /run/secrets/metrics_token 2>/dev/null || true)}" >/tmp/metrics_token
unset METRICS_TOKEN
exec prometheus "$@"
