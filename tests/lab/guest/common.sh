# Functions for every guest's script.

# stage WORDS: says what the script is about to do, and when, in seconds since the guest's start.
stage() {
    local uptime rest
    read -r uptime rest </proc/uptime
    echo "lab: $uptime s: $*"
}

# load MODULE...: loads kernel modules; one that is built in counts as loaded.
load() {
    modprobe -a "$@"
}

# wait_until SECONDS COMMAND...: repeats the command until it succeeds; fails when the time is over.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        if [ $SECONDS -ge $end ]; then
            echo "lab: gave up waiting for: $*" >&2
            return 1
        fi
        sleep 0.2
    done
}

# meet NAME [COUNT]: waits until COUNT guests of this network (2: both clients) are at NAME.
meet() {
    /lab/meet at "$1" "${2:-2}"
}

# clients_left: on the server, waits until both clients have left.
clients_left() {
    wait_until "$LAB_TIMEOUT" test -e /run/lab/meet/left/a -a -e /run/lab/meet/left/b
}
