#!/bin/sh
# Install what `make bench` compares with and measures by, where it is missing. Whatever can't be had is left out there.
missing=""
need() { # COMMAND PACKAGE…
	command -v "$1" >/dev/null 2>&1 || { shift; missing="$missing $*"; }
}
need nginx nginx
need haproxy haproxy
need redis-server redis-server
need wrk wrk
need h2load nghttp2-client
need taskset util-linux
[ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] ||
	missing="$missing libnginx-mod-http-lua lua-resty-core lua-resty-lrucache"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "not installed:$missing (Debian packages; as root this would install them)" >&2
	exit 0
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# No daemon that comes with a package is to start: the bench runs its own.
[ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d && ours=yes; }
apt-get update -qq
for package in $missing; do
	apt-get install -y -qq "$package" >/dev/null || echo "$package could not be installed" >&2
done
[ "${ours:-no}" = no ] || rm -f /usr/sbin/policy-rc.d
exit 0
