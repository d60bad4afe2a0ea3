#!/usr/bin/env bash
# Install the packages for a throw-away Slurm where that can be done; where not, say so: the tests say what is lacking.
set -u
cd "$(dirname "$0")/../.."
packages=$(sed -n 's/^PACKAGES = "\(.*\)".*/\1/p' tests/slurm/cluster.py)
missing=
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "slurm: no root or no apt to install$missing"
    exit 0
fi
mkdir -p .cache
echo "slurm: apt-get install$missing"
install() { DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $missing </dev/null; }
{ install || { apt-get update -q && install; }; } >.cache/slurm.log 2>&1 || echo "slurm: apt-get failed, see .cache/slurm.log"
