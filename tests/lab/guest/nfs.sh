# The kernel's NFS server in this guest, and mounting from it or from another guest.

# nfs_serve [FOLDER]: exports FOLDER (/export: memory, unless something is mounted there) for NFS 3 and 4.
#   NFS_EXPORT_OPTIONS  further export options (sync)
#   NFS_EXPORT_SIZE     size of the memory (400m)
#   NFS_THREADS         server threads (8)
nfs_serve() {
    local folder=${1:-/export}
    load nfsd
    mkdir -p "$folder" /run/rpc_pipefs /run/rpcbind /run/sendsigs.omit.d \
        /var/lib/nfs/v4recovery /var/lib/nfs/nfsdcld /var/lib/nfs/sm /var/lib/nfs/sm.bak
    mountpoint -q "$folder" || mount -t tmpfs -o size="${NFS_EXPORT_SIZE:-400m}" export "$folder"
    chmod 1777 "$folder"
    mountpoint -q /run/rpc_pipefs || mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs
    mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
    touch /var/lib/nfs/etab /var/lib/nfs/rmtab
    rpcbind -w
    echo "$folder *(rw,no_root_squash,insecure,no_subtree_check,fsid=0,${NFS_EXPORT_OPTIONS:-sync})" >/etc/exports
    exportfs -ra
    # Knows of no clients from before, so newer kernels agree to end the time of grace at once.
    nfsdcld
    rpc.nfsd --grace-time 10 --lease-time 10 "${NFS_THREADS:-8}"
    rpc.mountd
    # Else the first open of a v4 client waits until the grace is over; newer kernels have skipped it already.
    [ "$(</proc/fs/nfsd/v4_end_grace)" = Y ] || echo Y >/proc/fs/nfsd/v4_end_grace
    NFS_EXPORT=$folder
}

# nfs_mount VERSION FOLDER [OPTIONS]: mounts the server's export with NFS 3, 4.0, 4.1 or 4.2.
# On another guest than the server's it waits for the server.
nfs_mount() {
    local version=$1 folder=$2 options=${3:+,$3} source
    mkdir -p "$folder"
    case $version in
    3)
        load nfs nfsv3
        source=$NFS_SERVER:${NFS_EXPORT:-/export}
        options=,nolock,mountproto=tcp$options
        ;;
    *)
        load nfs nfsv4
        source=$NFS_SERVER:/
        ;;
    esac
    [ "$NFS_SERVER" = 127.0.0.1 ] || wait_until 60 nfs_reachable
    mount -t nfs -o "vers=$version,proto=tcp$options" "$source" "$folder"
}

# client_mount CLIENT VERSION FOLDER [OPTIONS]: the same from a client's namespace; other namespaces see the mount too.
client_mount() {
    local client=$1
    shift
    export NFS_SERVER NFS_EXPORT
    export -f nfs_mount nfs_reachable load wait_until
    # Two mounts of one export would otherwise share one connection, that of the first.
    in_client "$client" bash -c 'set -eu; nfs_mount "$@"' nfs_mount "$1" "$2" "nosharecache${3:+,$3}"
}

# nfs_reachable: whether the server takes connections.
nfs_reachable() {
    (: <"/dev/tcp/$NFS_SERVER/2049") 2>/dev/null
}

# nfs_wire_capture FILE / nfs_wire_stop: records the NFS traffic of the loopback or of eth0, headers and a little more.
nfs_wire_capture() {
    local interface=lo
    [ -z "${LAB_ROLE:-}" ] || interface=eth0
    tcpdump -i $interface -s 300 -B 65536 -U -w "$1" 'tcp port 2049' 2>/run/lab/tcpdump.log &
    NFS_CAPTURE=$!
    wait_until 20 grep -q listening /run/lab/tcpdump.log
}
nfs_wire_stop() {
    sleep 1
    kill -INT "$NFS_CAPTURE"
    wait "$NFS_CAPTURE" || true
}
