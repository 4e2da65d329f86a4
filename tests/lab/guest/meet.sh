#!/bin/bash
# Lets the guests of one network wait for each other, without touching what they measure: a small service on the server.
#   meet serve             runs the service (server)
#   meet at NAME COUNT     returns when COUNT guests are at NAME
#   meet leave             a client: says that it has left; the server: waits until both clients have
port=7049
server=192.168.50.1
room=/run/lab/meet

arrive() { # NAME WHO COUNT
    mkdir -p "$room/$1"
    : >"$room/$1/$2"
    local there
    while :; do
        there=("$room/$1"/*)
        [ ${#there[@]} -lt "$3" ] || return 0
        sleep 0.2
    done
}

ask() { # NAME COUNT
    local answer
    until exec 9<>/dev/tcp/$server/$port; do
        sleep 0.3
    done 2>/dev/null
    echo "$1 $LAB_HOSTNAME $2" >&9
    read -r answer <&9 && [ "$answer" = go ]
}

case $1 in
serve)
    exec socat "TCP-LISTEN:$port,fork,reuseaddr" EXEC:"/lab/meet answer"
    ;;
answer)
    read -r name who count
    arrive "$name" "$who" "$count"
    echo go
    ;;
at)
    if [ "$LAB_ROLE" = server ]; then
        arrive "$2" server "$3"
    else
        ask "$2" "$3"
    fi
    ;;
leave)
    case ${LAB_ROLE:-} in
    server) [ "$(</run/lab/status)" != 0 ] || arrive left server 3 ;;
    a | b) ask left 0 ;;
    esac
    ;;
esac
