#!/bin/sh
# Installs the servers that tests want from Debian where they are missing and can be had; says so where they can't be, and
# what is not tested then. Wheels bring PostgreSQL, Caddy and a Valkey that stands in for Redis (requirements-servers.lock).
set -u
missing=""
need() { # COMMAND PACKAGE WHAT-IS-LOST
	command -v "$1" > /dev/null && return
	if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
		missing="$missing $2"
	else
		lost "$2" "$3"
	fi
}
lost() { # PACKAGE WHAT-IS-LOST
	printf '\033[1;31m%s is not installed and can not be: %s. On Debian: sudo apt-get install %s\033[0m\n' "$1" "$2" "$1" >&2
}
pebble_lost="certificates by ACME will not be tested"
redis_lost="the cache is tested with Valkey from a wheel, not with Redis"
browser_lost="what a browser makes of cookies will not be tested"
need pebble pebble "$pebble_lost"
for browser in chromium chromium-browser google-chrome; do command -v "$browser" > /dev/null && break; done \
	|| need chromium-headless-shell chromium-headless-shell "$browser_lost"
[ -n "${REDIS_SERVER:-}" ] || need redis-server redis-server "$redis_lost"
nginx_lost="whether a real nginx compresses for us will not be tested"
[ -x /usr/sbin/nginx ] || need nginx nginx-light "$nginx_lost"
prometheus_lost="whether Prometheus takes our alerts and dashboards will not be tested"
need prometheus prometheus "$prometheus_lost"
need promtool prometheus "$prometheus_lost"
dns_lost="whether a real resolver understands our name server will not be tested"
[ -x /usr/sbin/unbound ] || need unbound unbound "$dns_lost"
update_lost="dynamic updates of a real name server will not be tested"
[ -x /usr/sbin/named ] || need named bind9 "$update_lost"
[ -x /usr/sbin/knotd ] || need knotd knot "$update_lost"
page_lost="the commands of docs/certificates.md will not be tested"
for tool in curl jq openssl; do need "$tool" "$tool" "$page_lost"; done
provider_lost="signing in at a real OpenID Connect provider will not be tested"
need node nodejs "$provider_lost"
need npm npm "$provider_lost"
axe_lost="whether the console can be used by everybody (axe) will not be tested"
# Packages of npm, as locked, beside the venv's: no package of Debian has them.
from_npm() { # PACKAGE FOLDER-OF-ITS-LOCK WHAT-IS-LOST
	at=.venv/$1
	[ -d .venv ] && command -v npm > /dev/null || return 0
	cmp -s "$2/package-lock.json" "$at/package-lock.json" && [ -d "$at/node_modules/$1" ] && return
	echo "installing for the tests: $1"
	rm -rf "$at" && mkdir -p "$at" && cp "$2/package.json" "$2/package-lock.json" "$at"
	npm ci --prefix "$at" --ignore-scripts --no-audit --no-fund > /dev/null 2>&1 && return
	rm -rf "$at"
	printf '\033[1;31m%s could not be installed by npm: %s\033[0m\n' "$1" "$3" >&2
}
npm_packages() {
	from_npm oidc-provider tests/support/oidc_provider "$provider_lost"
	from_npm axe-core tests/support/axe "$axe_lost"
}
[ -n "$missing" ] || { npm_packages; exit 0; }

echo "installing for the tests:$missing"
export DEBIAN_FRONTEND=noninteractive
# No daemon that comes with a package is to start: the tests run their own.
[ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d && ours=yes; }
# shellcheck disable=SC2086 # a list of packages
apt-get install -y -q $missing > /dev/null 2>&1 || { apt-get update -q && apt-get install -y -q $missing; } > /dev/null 2>&1
[ "${ours:-no}" = no ] || rm -f /usr/sbin/policy-rc.d
command -v pebble > /dev/null || lost pebble "$pebble_lost"
case "$missing" in *chromium*) command -v chromium-headless-shell > /dev/null || lost chromium-headless-shell "$browser_lost" ;; esac
[ -n "${REDIS_SERVER:-}" ] || command -v redis-server > /dev/null || lost redis-server "$redis_lost"
[ -x /usr/sbin/nginx ] || command -v nginx > /dev/null || lost nginx-light "$nginx_lost"
command -v prometheus > /dev/null && command -v promtool > /dev/null || lost prometheus "$prometheus_lost"
[ -x /usr/sbin/unbound ] || command -v unbound > /dev/null || lost unbound "$dns_lost"
[ -x /usr/sbin/named ] || command -v named > /dev/null || lost bind9 "$update_lost"
[ -x /usr/sbin/knotd ] || command -v knotd > /dev/null || lost knot "$update_lost"
command -v node > /dev/null || lost nodejs "$provider_lost"
command -v npm > /dev/null || lost npm "$provider_lost"
npm_packages
exit 0
