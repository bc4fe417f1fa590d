#!/bin/sh
# Installs Pebble, an ACME certificate authority for tests, where it is missing and can be had. Says so where it can't;
# the tests that want it say so too.
set -eu
command -v pebble > /dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
	echo "installing pebble, for the tests of certificates"
	if apt-get install -y -q pebble > /dev/null 2>&1 || { apt-get update -q && apt-get install -y -q pebble; } > /dev/null 2>&1; then
		exit 0
	fi
fi
printf '\033[1;31mPebble is not installed and can not be: certificates by ACME will not be tested. On Debian: sudo apt-get install pebble\033[0m\n' >&2
