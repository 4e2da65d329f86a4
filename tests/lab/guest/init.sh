#!/bin/bash
# Second program of a guest, in its root image: prepares the system, runs the script, sends results, powers off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM=dumb
. /lab/env

mkdir -p /dev/pts /dev/shm /results
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs tmpfs /results
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mkdir -p /run/lab /run/lock
ip link set lo up
hostname "$LAB_HOSTNAME"
echo "127.0.0.1 localhost $LAB_HOSTNAME" >/etc/hosts

# The device of a named channel to the machine outside; there is no udev that would make links.
channel() {
    local name
    for name in /sys/class/virtio-ports/*/name; do
        if [ "$(<"$name")" = "$1" ]; then
            name=${name%/name}
            echo "/dev/${name##*/}"
        fi
    done
}

exec 3>"$(channel lab.output)"
if [ "${LAB_ROLE:-}" = server ]; then
    /lab/meet serve 1>&3 2>&3 &
fi
timeout -k 10 "$LAB_TIMEOUT" bash -c '
    set -euo pipefail
    for part in /lab/lib/*.sh; do . "$part"; done
    network_up
    cd /root
    . /lab/script' </dev/null 1>&3 2>&3
status=$?
# A script that ignored the request to stop was killed: that, too, is out of time.
[ $status = 137 ] && status=124
echo $status >/run/lab/status
/lab/meet leave 1>&3 2>&3
exec 3>&-

tar -cf "$(channel lab.results)" -C /run/lab status -C / results
# Without a sync: it would wait for ever on the mount of a server that is gone, and all that counts
# has been handed over above.
exec busybox poweroff -n -f
