# Takes a guest through the suite's stages: each function prepares what its checks need.
# NFSLAT_SUITE_STAGES names those that have something to run, in order.

export NFSLAT_BIN NFSLAT_WORKLOAD_BIN NFSLAT_SUITE_WANTED NFSLAT_SUITE_RESULTS=/results NFSLAT_DISK=/tmp

prepare_without-nfs() {
    [ ! -e /sys/module/sunrpc ]
}

prepare_tool() {
    :
}

prepare_small() {
    :
}

prepare_bare() {
    # Each request takes a while, so that reads and syncs are waits and not just work.
    slow_disk 2 /disk
    export NFSLAT_DISK=/disk
}

prepare_with-nfs() {
    nfs_serve
    load nfs nfsv3 nfsv4 sch_netem sch_prio cls_u32 veth
    # Another export, each of whose writes takes a while.
    slow_disk 20 /slow
    exportfs -o rw,no_root_squash,insecure,no_subtree_check,sync,fsid=7 '*:/slow'
}

prepare_two-clients() {
    namespaces_up
    client_mount a 4.2 /mnt/a
    client_mount b 4.2 /mnt/b
}

prepare_dead-server() {
    :
}

for name in $NFSLAT_SUITE_STAGES; do
    stage "$name"
    case $name in
    with-nfs | two-clients | dead-server) mountpoint -q /proc/fs/nfsd || prepare_with-nfs ;;
    esac
    [ "$name" = with-nfs ] || "prepare_$name"
    NFSLAT_SUITE_STAGE=$name nfslat-suite
done
