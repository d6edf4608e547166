#!/usr/bin/env bash
# Builds everything, indexes the demo gallery with the demo model, and asks a few questions of it.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked

mkdir -p quickstart
export BT_INDEX=quickstart/index BT_MODEL=demo
run() {
  printf '\n$'
  for word in "$@"; do
    case $word in *' '*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
  done
  echo
  "target/release/$@"
}
run bt-index build demo/gallery
run bt-query "a cat by a window" --top 5
run bt-query "a house in the mountains" --top 5 --contact-sheet quickstart/hits.png
