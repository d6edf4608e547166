#!/usr/bin/env bash
# Builds everything, indexes a folder of generated pictures, and asks for one of them.
#
# The model is tests/fixtures/checkpoints/tiny-random: its weights are RANDOM, so the order of the hits
# means nothing. It shows that the whole path works; put your own photos and a published checkpoint in.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked
cargo run --release --locked --quiet --example generate_pictures -- demo/pictures 60

export BT_INDEX=demo/index BT_MODEL=tests/fixtures/checkpoints/tiny-random
run() {
  printf '\n$'
  for word in "$@"; do
    case $word in *' '*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
  done
  echo
  "target/release/$@"
}
echo
echo "The model below has RANDOM weights: the order of the hits means nothing."
run bt-index build demo/pictures
run bt-index status
run bt-query "a red circle on a blue background" --top 5
run bt-query ./demo/pictures/000-red-circle-on-green.png --top 3
