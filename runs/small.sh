#!/usr/bin/env bash
# Train the small released model for fidelity, from photographs to a package.
#   runs/small.sh PHOTOS MINUTES [SOURCES.csv]        WARM=package.itgm to go on from a released model
set -euo pipefail
photos=${1:?usage: runs/small.sh PHOTOS MINUTES [SOURCES.csv]}
minutes=${2:?usage: runs/small.sh PHOTOS MINUTES [SOURCES.csv]}
sources=${3:-}
python=${PYTHON:-python}
"$python" -m intaglio.train.plain --photos "$photos" --pack out/train --out out/small --minutes "$minutes" \
  --compile ${WARM:+--warm "$WARM"}
"$python" -m intaglio.train.release package out/small/last.pt --pack out/train ${sources:+--sources "$sources"} \
  --note "runs/small.sh, $minutes minutes" --out out/intaglio1-small.itgm
