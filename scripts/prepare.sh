#!/bin/bash
# Makes what the tests need beside the build: trees and, unless HOSTEL_WITHOUT has "vm" in it, virtual machines; on shared
# base systems. What is there already stays. Beside a build this costs little time: much of it is waiting for mirrors and disks.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "not root: tests that need root say so and skip" >&2; exit 0; }
trees=${HOSTEL_TREES:-/var/tmp/hostel-trees}; mkdir -p "$trees"; chmod 755 "$trees"
HOSTEL_BASES=$(mktemp -d "$trees/.bases.XXXXXX"); export HOSTEL_BASES; trap 'rm -rf "$HOSTEL_BASES"' EXIT
scripts/trees.sh all || echo "some trees are missing: their tests will say so and skip" >&2
case " ${HOSTEL_WITHOUT:-} " in *" vm "*) ;; *) scripts/vm.sh --build ;; esac
