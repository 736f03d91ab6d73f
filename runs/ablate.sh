#!/usr/bin/env bash
# What the choices of the released recipes are worth, at a small equal budget: normalisation, architectures, strategy.
#   runs/ablate.sh PHOTOS PICTURES OUT [options of `python -m intaglio.train.ablate`]
# PICTURES are held out from PHOTOS. INTAGLIO_WEIGHTS names the folder of the frozen backbones. Resumes after the last row.
set -euo pipefail
(($# >= 3)) || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
photos=$1 pictures=$2 out=$3
shift 3
python=${PYTHON:-python}
model=$("$python" -c 'from importlib import resources as r; print(r.files("intaglio") / "models/intaglio1-small.itgm")')
"$python" -m intaglio.train.ablate "$photos" "$pictures" --warm "$model" --out "$out" "$@"
cat "$out/table.md"
