#!/bin/sh
# Writes what nginx.conf includes and the engine or the environment decides, then becomes nginx.
set -eu
mkdir -p /tmp/proxy
{
    # Names are asked for again every second: replicas come and go, and come back with other addresses.
    echo "resolver $(awk '/^nameserver/ {print $2; exit}' /etc/resolv.conf) valid=1s ipv6=off;"
    # The service has limits of its own, and words for them; this one is for what is far beyond.
    echo "client_max_body_size $((MAX_UPLOAD_MB + 8))m;"
} >/tmp/proxy/engine.conf
# A request must not meet a connection that a reload is closing. Where nginx cannot hold it open (before 1.27.4), each
# connection carries one request.
echo "keepalive_min_timeout 10s;" >/tmp/proxy/keepalive.conf
sh /etc/proxy/route.sh
nginx -q -t -c /etc/proxy/nginx.conf 2>/dev/null || echo "keepalive_timeout 0;" >/tmp/proxy/keepalive.conf
exec nginx -c /etc/proxy/nginx.conf -g "daemon off;"
