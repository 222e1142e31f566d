#!/bin/sh
# Installs the daemons that the tests take for peers, without starting any of them as a service.
# Needs root, Debian or a relative of it, and a package mirror.
set -eu

packages="postfix dovecot-imapd dovecot-pop3d postgresql redis-server nginx haproxy openssh-server
knot knot-dnsutils bind9 bind9-dnsutils nsd unbound
nftables iproute2 openssl iputils-ping fping prometheus-blackbox-exporter"

missing=
for package in $packages; do
    dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null |
        grep -qx installed || missing="$missing $package"
done
if [ -z "$missing" ]; then
    echo "the daemons are installed"
    exit 0
fi

# Maintainer scripts ask this before they start a service; 101 means no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# The list is meant to be split.
# shellcheck disable=SC2086
apt-get install -q -y --no-install-recommends $missing
