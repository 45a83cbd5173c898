#!/bin/sh
# `route.sh` sends requests to whatever the name `api` stands for; `route.sh ADDRESS…` to these replicas and no other.
# `make deploy` names them while it replaces replicas, so that none is stopped which may still be chosen.
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
