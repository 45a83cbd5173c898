#!/bin/sh
# `route.sh` sends requests to all addresses of the name `api`; `route.sh ADDRESS…` only to these replicas.
# `make deploy` passes addresses while it replaces replicas, so that it never stops one that still gets requests.
set -eu
if [ $# -gt 0 ]; then
    servers=$(printf 'server %s:8000; ' "$@")
    rule="upstream replicas { $servers} map \"\" \$api { default replicas; }"
else
    rule='map "" $api { default api:8000; }'
fi
echo "$rule" >/tmp/proxy/route.conf.new
mv /tmp/proxy/route.conf.new /tmp/proxy/route.conf
[ ! -s /tmp/nginx.pid ] || nginx -c /etc/proxy/nginx.conf -s reload
