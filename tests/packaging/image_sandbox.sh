#!/bin/sh
# Runs one command in an image's root file system as a pod of the `restricted` Pod Security Standard
# would: read-only root, no capability, no new privileges, only /tmp, HOME, /dev/shm and /mnt writable.
# Its network is a loopback interface of its own. To be started as root by
#
#   unshare --mount --pid --fork --kill-child --net --ipc --uts image_sandbox.sh ROOT MNT UID:GID HOME WORKDIR COMMAND...
#
# in the environment of the image. Everything mounted here goes away with that namespace.
set -eu
root=$1 mnt=$2 uid=${3%:*} gid=${3#*:} home=$4 workdir=$5
shift 5

ip link set lo up
hostname launcher-image
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind -o ro /sys "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o "mode=700,uid=$uid,gid=$gid" tmpfs "$root$home"
mount --bind "$mnt" "$root/mnt"
printf '127.0.0.1 localhost launcher-image\n' >"$root/tmp/.hosts"
mount --bind "$root/tmp/.hosts" "$root/etc/hosts"
mount -o remount,bind,ro "$root"

# shellcheck disable=SC2016 # the inner shell expands it
exec chroot "$root" /usr/bin/setpriv --reuid "$uid" --regid "$gid" --clear-groups \
    --no-new-privs --inh-caps=-all --ambient-caps=-all --bounding-set=-all \
    /bin/sh -c 'cd "$0" && exec "$@"' "$workdir" "$@"
