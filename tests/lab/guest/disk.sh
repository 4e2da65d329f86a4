# Disks that are slow on purpose.

# slow_disk MILLISECONDS FOLDER [MIB]: mounts an ext4 file system whose disk takes that much longer for each request.
#   slow_disk 15 /export; nfs_serve /export      an NFS server with a slow disk
slow_disk() {
    local milliseconds=$1 folder=$2 size=${3:-200} name=slow${2//\//-} image loop sectors
    image=/dev/shm/$name.img
    load loop dm-mod dm-delay ext4
    truncate -s "${size}M" "$image"
    mkfs.ext4 -q "$image"
    loop=$(losetup --find --show "$image")
    sectors=$(blockdev --getsz "$loop")
    dmsetup create "$name" --table "0 $sectors delay $loop 0 $milliseconds"
    dmsetup mknodes
    mkdir -p "$folder"
    mount "/dev/mapper/$name" "$folder"
}
