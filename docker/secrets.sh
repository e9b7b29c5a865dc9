#!/bin/sh
# Draw the passwords of docker-compose.yml into docker/secrets/, one file for each service that needs them. Overwrites nothing.
set -eu
umask 077
folder="${1:-$(dirname "$0")/secrets}"
if [ -e "$folder" ]; then
    echo "error: $folder is there already: its passwords are those of the volumes, so move it away only with them" >&2
    exit 1
fi
draw() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
postgres=$(draw) valkey=$(draw) grafana=$(draw)
mkdir -p "$folder"
echo "POSTGRES_PASSWORD=$postgres" >"$folder/postgres.env"
echo "VALKEY_PASSWORD=$valkey" >"$folder/valkey.env"
echo "GF_SECURITY_ADMIN_PASSWORD=$grafana" >"$folder/grafana.env"
# Names and keys of outside endpoints (RLT_SOURCES) belong here too.
cat >"$folder/rlt.env" <<END
RLT_DATABASE_URL=postgresql://rlt:$postgres@postgres:5432/rlt
RLT_BROKER_URL=redis://:$valkey@valkey:6379/0
END
echo "written: $folder/postgres.env, valkey.env, grafana.env, rlt.env"
