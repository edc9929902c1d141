#!/bin/sh
# What the official images run as PID 1: keys, SSH server, environment file, then wait.
set -e
echo "Pod Started"
if [ -n "$PUBLIC_KEY" ]; then
    mkdir -p ~/.ssh
    echo "$PUBLIC_KEY" >>~/.ssh/authorized_keys
    chmod -R 700 ~/.ssh
    service ssh start
fi
printenv | grep -E '^[A-Z_][A-Z0-9_]*=' | grep -v '^PUBLIC_KEY' |
    sed 's/^\([^=]*\)=\(.*\)$/export \1="\2"/' >"${EMULATOR_ROOT:-}/etc/rp_environment" || true
echo "source ${EMULATOR_ROOT:-}/etc/rp_environment" >>~/.bashrc
echo "Start script(s) finished, Pod is ready to use."
[ "$#" = 0 ] || exec "$@"
while :; do sleep 3600; done
