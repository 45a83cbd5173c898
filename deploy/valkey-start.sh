#!/bin/sh
# Start Valkey with a password that no argument reveals. The authoritative data is in PostgreSQL; Valkey's data is kept so
# that streams can be resumed and rate limits keep counting after a restart.
set -eu
umask 077
rm -f /tmp/valkey.conf
cat >/tmp/valkey.conf <<CONF
bind *
dir /data
requirepass "$REDIS_PASSWORD"
appendonly yes
save ""
maxmemory 768mb
maxmemory-policy noeviction
CONF
chown valkey /tmp/valkey.conf /data
exec setpriv --reuid=valkey --regid=valkey --clear-groups valkey-server /tmp/valkey.conf
