#!/bin/sh
# Starts Valkey with a password that no argument shows. What it holds is not the truth, which is in PostgreSQL, but
# streams can be read on and limits go on counting after a restart.
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
