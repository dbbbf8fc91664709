#!/usr/bin/env bash
# Starts one of the brokers of scenarios/DEVIATIONS.md, as it was when its table was made, and stays in front of it.
#
#   ci/peers.sh mosquitto|nats-server|aedes|amqtt|rumqttd PORT
#   ci/peers.sh rumqttd PORT 5.0    (one listener of it speaks one version)
#   ci/peers.sh mosquitto-persistent PORT DIR    (what is in DIR stays, for scenarios that restart it)
#
# PEERS  where what is no Debian package is installed at its first start (default: ~/.cache/mqtt-peers)
set -euo pipefail

name=${1:?"usage: ci/peers.sh mosquitto|nats-server|aedes|amqtt|rumqttd PORT"}
port=${2:?"usage: ci/peers.sh $name PORT"}
peers=${PEERS:-$HOME/.cache/mqtt-peers}
if [ "$name" = mosquitto-persistent ]; then
    home=${3:?"usage: ci/peers.sh $name PORT DIR"}
else
    # Nothing is left of an earlier run.
    home=${TMPDIR:-/tmp}/mqtt-peer-$name-$port
    rm -rf "$home"
fi
mkdir -p "$home" "$peers"

case $name in
mosquitto)
    cat >"$home/conf" <<END
listener $port 127.0.0.1
allow_anonymous true
END
    exec mosquitto -c "$home/conf"
    ;;
mosquitto-persistent)
    cat >"$home/conf" <<END
listener $port 127.0.0.1
allow_anonymous true
persistence true
persistence_location $home/
END
    exec mosquitto -c "$home/conf"
    ;;
nats-server)
    # A port of its own protocol, which nobody uses, has to be there too.
    cat >"$home/conf" <<END
server_name: peer
listen: "127.0.0.1:-1"
jetstream { store_dir: "$home" }
mqtt { listen: "127.0.0.1:$port" }
END
    exec nats-server -c "$home/conf"
    ;;
aedes)
    test -d "$peers/node_modules/aedes" || npm install --silent --prefix "$peers" aedes@1.2.0
    cd "$peers"
    exec node --input-type=module -e "
        import { Aedes } from 'aedes'
        import { createServer } from 'node:net'
        const aedes = await Aedes.createBroker()
        createServer(aedes.handle).listen($port, '127.0.0.1')"
    ;;
amqtt)
    if ! test -x "$peers/amqtt/bin/amqtt"; then
        python3 -m venv "$peers/amqtt"
        "$peers/amqtt/bin/pip" install --quiet amqtt==0.12.1
    fi
    cat >"$home/conf" <<END
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:$port
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
END
    exec "$peers/amqtt/bin/amqtt" -c "$home/conf"
    ;;
rumqttd)
    case ${3:-3.1.1} in
    3.1.1) listener=v4.1 ;;
    5.0) listener=v5.1 ;;
    *)
        echo "ci/peers.sh: rumqttd speaks 3.1.1 or 5.0, not $3" >&2
        exit 2
        ;;
    esac
    # Not --locked: what it locked does not compile any more.
    test -x "$peers/bin/rumqttd" || cargo install --quiet rumqttd@0.20.0 --root "$peers"
    cat >"$home/conf.toml" <<END
id = 0
[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[$listener]
name = "peer"
listen = "127.0.0.1:$port"
next_connection_delay_ms = 1
[$listener.connections]
connection_timeout_ms = 60000
max_payload_size = 5000000
max_inflight_count = 100
dynamic_filters = true
END
    exec "$peers/bin/rumqttd" -c "$home/conf.toml"
    ;;
*)
    echo "ci/peers.sh: no broker is called $name" >&2
    exit 2
    ;;
esac
