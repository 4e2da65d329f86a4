# Networks: the one between guests, and one between namespaces inside a guest.

# The NFS server's address, seen from this guest's clients.
NFS_SERVER=${NFS_SERVER:-127.0.0.1}

# network_up: gives a guest of three its address; in a single guest there is nothing to do.
network_up() {
    local number
    case ${LAB_ROLE:-} in
    server) number=1 ;;
    a) number=2 ;;
    b) number=3 ;;
    *) return 0 ;;
    esac
    load virtio_net
    wait_until 20 test -e /sys/class/net/eth0
    ip addr add 192.168.50.$number/24 dev eth0
    ip link set eth0 up
    NFS_SERVER=192.168.50.1
}

# delay INTERFACE TIME [NAMESPACE]: everything that leaves through the interface comes TIME later.
delay() {
    load sch_netem
    ${3:+ip netns exec "$3"} tc qdisc replace dev "$1" root netem delay "$2" limit 100000
}

# namespaces_up: two clients a and b in network namespaces of their own, joined to this guest by a bridge.
# Their server is this guest, at 192.168.50.1; the way of client b is delayed by: delay eth0 20ms b
namespaces_up() {
    load bridge veth
    ip link add br0 type bridge
    ip addr add 192.168.50.1/24 dev br0
    ip link set br0 up
    local client number=2
    for client in a b; do
        ip netns add $client
        ip link add v$client type veth peer name eth0 netns $client
        ip link set v$client master br0 up
        ip -n $client addr add 192.168.50.$number/24 dev eth0
        ip -n $client link set eth0 up
        ip -n $client link set lo up
        number=$((number + 1))
    done
    NFS_SERVER=192.168.50.1
}

# in_client NAME COMMAND...: runs a command in a client's namespace, under a host name of its own.
# NFSv4 tells clients apart by host name: with one name for both, each disturbs the other's state.
in_client() {
    local client=$1
    shift
    nsenter --net=/run/netns/"$client" unshare --uts bash -c 'hostname "$0" && exec "$@"' "$client" "$@"
}
