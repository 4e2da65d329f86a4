#!/bin/busybox sh
# First program of a guest: lays the disks over one another and hands over to the root image.
#   disk 1  root image (Debian)        read-only
#   disk 2  this kernel's modules      read-only
#   disk 3  what this run brings along read-only, uppermost
# Writes go to memory, so that every run starts from the same state.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev

fail() {
    echo "lab: $*"
    $b poweroff -f
}

while read -r module; do
    $b insmod "$module" || fail "loading $module failed"
done </modules/order

tries=0
while [ ! -b /dev/vdc ]; do
    tries=$((tries + 1))
    [ $tries -lt 500 ] || fail "the disks did not appear"
    $b usleep 10000
done

layer=1
for disk in vda vdb vdc; do
    $b mkdir -p /layers/$layer
    $b mount -t erofs -o ro /dev/$disk /layers/$layer || fail "mounting $disk failed"
    layer=$((layer + 1))
done
$b mount -t tmpfs -o size=70% upper /upper
$b mkdir /upper/data /upper/work
$b mount -t overlay -o lowerdir=/layers/3:/layers/2:/layers/1,upperdir=/upper/data,workdir=/upper/work root /root ||
    fail "laying the disks over one another failed"

for mount in proc sys dev; do
    $b mkdir -p /root/$mount
    $b mount --move /$mount /root/$mount
done
exec $b switch_root /root /lab/init
