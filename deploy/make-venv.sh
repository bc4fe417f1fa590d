#!/bin/sh
# Make the venv $1 with a Python that is new enough. $PYTHON names one; else the first that fits is taken.
set -eu
venv=$1
wanted='import sys; sys.exit(sys.version_info < (3, 11))'

if [ -n "${PYTHON:-}" ]; then
    candidates=$PYTHON
else
    candidates='python3 python3.14 python3.13 python3.12 python3.11'
fi

python=
for candidate in $candidates; do
    if "$candidate" -c "$wanted" 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    asked=${PYTHON:-python3}
    if command -v "$asked" >/dev/null; then
        found="it is $("$asked" --version 2>&1 || true)"
    else
        found="there is none"
    fi
    echo "Python 3.11 or newer is needed as $asked: $found." >&2
    echo "Install one and try again, or name it: make install PYTHON=/path/to/python3.11" >&2
    exit 1
fi

# A venv that fits is kept: its Python answers, and is new enough.
if "$venv/bin/python" -c "$wanted" 2>/dev/null; then
    exit 0
fi

echo "making $venv with $("$python" --version) ($python)"
rm -rf "$venv"
# Without pip, which takes longer than all the rest: deploy/install.py finds one.
if ! "$python" -m venv --without-pip "$venv"; then
    echo "On Debian and Ubuntu: apt install python3-venv python3-pip" >&2
    exit 1
fi
