#!/bin/busybox sh
# First process of the virtual machine: the host's root over 9p, read-only, under a tmpfs that takes what is written.
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev
for module in /modules/*.ko; do $bb insmod "$module" || echo "init: $module does not load"; done
$bb mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro root /host || echo "init: no root over 9p"
$bb mount -t tmpfs -o size=80% rw /rw
$bb mkdir /rw/upper /rw/work
$bb mount -t overlay -o lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work overlay /new || echo "init: no overlay"
for folder in proc sys dev; do $bb mkdir -p /new/$folder; $bb mount --move /$folder /new/$folder; done
$bb mkdir -p /new/lib/modules /new/run /new/dev/pts /new/dev/shm /new/mnt/out
$bb mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro modules /new/lib/modules
$bb mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=none out /new/mnt/out
$bb mount -t tmpfs run /new/run
$bb mkdir -p /new/run/netns /new/run/lock
$bb mount -t tmpfs shm /new/dev/shm
$bb mount -t devpts pts /new/dev/pts
$bb mount -t bpf bpf /new/sys/fs/bpf
$bb mount -t cgroup2 cgroup /new/sys/fs/cgroup
$bb ip link set lo up
$bb hostname kernel-test
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
exec $bb switch_root /new /bin/sh -c 'python3 /mnt/out/guest.py; sync; echo b >/proc/sysrq-trigger; sleep 60'
