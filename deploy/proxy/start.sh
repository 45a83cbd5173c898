#!/bin/sh
# Write the files that nginx.conf includes, from the container engine and the environment; then start nginx.
set -eu
mkdir -p /tmp/proxy
{
    # Resolve names again every second: replicas are replaced and change their addresses.
    echo "resolver $(awk '/^nameserver/ {print $2; exit}' /etc/resolv.conf) valid=1s ipv6=off;"
    # The service enforces its own limits with proper errors; this one stops only far larger requests.
    echo "client_max_body_size $((MAX_UPLOAD_MB + 8))m;"
} >/tmp/proxy/engine.conf
# Lines such as `"https://app.example.com" $http_origin;`, of the origins that consist of harmless characters only.
printf '%s' "${CORS_ORIGINS:-}" | tr -d ' ' | tr ',' '\n' | sed -n \
    -e 's|^\*$|default "*";|p' \
    -e 's|^\([A-Za-z0-9+.-]*://[]A-Za-z0-9.:[-]*\)$|"\1" $http_origin;|p' >/tmp/proxy/origins.map
# A request must not arrive on a connection that a reload is closing. If nginx cannot keep such connections open (before
# 1.27.4), each connection carries one request.
echo "keepalive_min_timeout 10s;" >/tmp/proxy/keepalive.conf
sh /etc/proxy/route.sh
nginx -q -t -c /etc/proxy/nginx.conf 2>/dev/null || echo "keepalive_timeout 0;" >/tmp/proxy/keepalive.conf
exec nginx -c /etc/proxy/nginx.conf -g "daemon off;"
