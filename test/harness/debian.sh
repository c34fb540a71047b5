# shellcheck shell=bash
# debian.sh: whole Debian systems in folders, made by debootstrap and entered by chroot,
# for tests on another release or on a bare one. Source it.
#
# Needs root and the right to unshare, mount and chroot, which containers seldom have.
# The folders are kept in $SKENE_CACHE/debian (default ~/.cache/skene_gate/debian); delete
# one to have it made anew. Nothing in them starts by itself, and nothing is left running
# or mounted.

cache=${SKENE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/skene_gate}/debian

# A mount, process and IPC namespace: what happens inside ends with the command.
apart=(unshare --mount --pid --ipc --fork --kill-child --propagation private)

# may_make_debian: is all that allowed here?
may_make_debian() {
  [ "$(id -u)" = 0 ] && "${apart[@]}" sh -c 'mount -t proc proc /proc && chroot / true' 2>/dev/null
}

# lock_debians: one run at a time uses the folders; until the script ends.
lock_debians() {
  mkdir -p "$cache"
  exec {cache_lock}>"$cache/lock"
  flock --nonblock "$cache_lock" || {
    echo "Waiting for another run to be done with $cache"
    flock "$cache_lock"
  }
}

# make_debian NAME RELEASE: make $cache/NAME unless it is there; status 77 when
# it cannot be had. The mirror is the one
# this machine's apt uses, if that is Debian's, else debootstrap's own choice.
make_debian() {
  local name=$1 release=$2 part mirror
  [ ! -d "$cache/$name" ] || return 0
  test/harness/packages debootstrap || return
  echo "Making a Debian $release in $cache/$name"
  part=$cache/$name.part
  rm -rf "$part"
  # shellcheck disable=SC2016  # apt's own variable
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
    'Label: Debian' 2>/dev/null | head -1)
  debootstrap --variant=minbase --include=ca-certificates,make,git \
    "$release" "$part" ${mirror:+"$mirror"} >"$cache/$name.log" 2>&1 || {
    echo "skipped: debootstrap cannot make a Debian $release: $(tail -1 "$cache/$name.log")"
    return 77
  }
  rm -f "$part"/var/cache/apt/archives/*.deb
  # what apt must know to reach the mirror from here
  apt-config dump | grep -E '^Acquire::(https?|Check-|Retries)' >"$part/etc/apt/apt.conf.d/90host"
  cp /etc/hosts "$part/etc/hosts"
  printf '#!/bin/sh\nexit 101\n' >"$part/usr/sbin/policy-rc.d"
  chmod 755 "$part/usr/sbin/policy-rc.d"
  mv "$part" "$cache/$name"
}

# in_debian ROOT TMP COMMAND...: run a command there, with the directory TMP as its /tmp.
in_debian() {
  local root=$1 tmp=$2
  shift 2
  chmod 1777 "$tmp"
  cp /etc/resolv.conf "$root/etc/resolv.conf"
  # shellcheck disable=SC2016  # expanded inside
  "${apart[@]}" sh -eu -c '
    root=$1 tmp=$2
    shift 2
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --bind "$tmp" "$root/tmp"
    exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
      LC_ALL=C.UTF-8 TERM=dumb "$@"' enter "$root" "$tmp" "$@" {cache_lock}>&- </dev/null
}
