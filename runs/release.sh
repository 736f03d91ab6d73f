#!/usr/bin/env bash
# The released model, from photographs to package, in legs that end inside a time box:
#   fidelity   rate + lambda(q) MSE at every q          -> OUT/fidelity
#   decoder    MSE by the synthesis alone, same bytes   -> OUT/decoder
#   perceptual rate + MSE + VGG distance at every q     -> OUT/perceptual (its lowest step held: train/scale.py;
#              then the priors alone: train/priors.py)
#   realism    the dial, from the same bytes            -> OUT/realism (and OUT/NAME.itgm, completed)
#
#   runs/release.sh [options] PHOTOS OUT
#     --size small|full      which network [small]
#     --leg fidelity|decoder|perceptual|realism|all                       [all]
#     --minutes N            time box of each leg, export and all [24]
#     --warm FILE            package or checkpoint that the first leg starts from, a smaller size's too [the KLT]
#     --steady               perceptual and realism at a constant learning rate, their weights averaged over the leg (or
#                            its last ten thousand steps): what gains where a model is trained already
#     --runs N               N runs of those two legs at once, seeds 0 to N - 1, and the mean of them [1]; to give each
#                            a core: -- --threads 1
#     --sources CSV          a row a photograph with a column `licence`, for the card
#     --pieces DIR           cut each leg's checkpoint into files below 16 MiB there
#     --rehearse             20 steps a leg on the CPU, export, encode, decode: is everything in place?
#     -- OPTIONS             passed on to `intaglio train` (--device cuda --bfloat16 --compile, ...); --resume goes on
#                            with the legs that have begun, and begins the others
# The photographs are packed once, into OUT/photographs, before the first leg's time begins.
#
# The perceptual and realism legs need the frozen backbones' weights: name their folder in INTAGLIO_WEIGHTS.
# On several GPUs: INTAGLIO="torchrun --standalone --nproc-per-node 8 -m intaglio" runs/release.sh ... (--standalone: a
# port of its own for each of the --runs)
set -euo pipefail
size=small leg=all minutes=24 warm= runs=1 sources= pieces= rehearse= steady=() more=()
usage() { sed -n '2,26s/^# \{0,1\}//p' "$0"; exit "$1"; }
positional=()
while (($#)); do
  case $1 in
    --size) size=$2; shift 2 ;;
    --leg) leg=$2; shift 2 ;;
    --minutes) minutes=$2; shift 2 ;;
    --warm) warm=$2; shift 2 ;;
    --steady) steady=(--rate 2.5e-4 --set floor=1 --set recent=2 --set ema=0.9999); shift ;;
    --runs) runs=$2; shift 2 ;;
    --sources) sources=$2; shift 2 ;;
    --pieces) pieces=$2; shift 2 ;;
    --rehearse) rehearse=1; shift ;;
    --help) usage 0 ;;
    --) shift; more=("$@"); break ;;
    -*) echo "$0: unknown option $1" >&2; usage 2 >&2 ;;
    *) positional+=("$1"); shift ;;
  esac
done
((${#positional[@]} == 2)) || { echo "$0: give PHOTOS and OUT" >&2; usage 2 >&2; }
photos=${positional[0]} out=${positional[1]}
case $size in small) name=intaglio1-small ;; full) name=intaglio1 ;; *) echo "$0: --size small or full" >&2; exit 2 ;; esac
case $leg in
  fidelity | decoder | perceptual | realism | all) ;;
  *) echo "$0: --leg fidelity, decoder, perceptual, realism or all" >&2; exit 2 ;;
esac
[[ $runs =~ ^[1-9][0-9]?$ ]] || { echo "$0: --runs from 1 to 99" >&2; exit 2; }
if [[ ($runs != 1 || ${steady[*]-}) && ($leg == fidelity || $leg == decoder) ]]; then
  echo "$0: --runs and --steady are for perceptual and realism; leave them out" >&2
  exit 2
fi
if [[ $runs != 1 && " ${more[*]-}" == *" --seed"* ]]; then
  echo "$0: --runs gives every run a seed of its own; leave --seed out" >&2
  exit 2
fi
python=${PYTHON:-python}
intaglio=${INTAGLIO:-$python -m intaglio}
box=(--minutes "$minutes")
if [[ $rehearse ]]; then
  box=(--steps 20 --batch 2 --device cpu --pictures 32)  # tables counted on few crops: minutes saved
  out=$out/rehearsal
  rm -rf "$out"
fi
mkdir -p "$out"
again=
for option in ${more[@]+"${more[@]}"}; do [[ $option != --resume ]] || again=--resume; done
photos=$("$python" -m intaglio.train.packs "$photos" "$out" $again)

words() { # RECIPE FOLDER [options]: those of a training, in `command`
  local recipe=$1 folder=$2 option options=()
  shift 2
  for option in ${more[@]+"${more[@]}"}; do
    [[ $option == --resume && ! -e $folder/last.pt ]] || options+=("$option")
  done
  # shellcheck disable=SC2086  # a launcher is several words
  command=($intaglio train "$recipe" --data "$photos" --out "$folder" "${box[@]}" "$@" ${options[@]+"${options[@]}"})
}
train() { # RECIPE FOLDER [options]
  words "$@"
  "${command[@]}"
}
in_pieces() { # FOLDER
  if [[ $pieces ]]; then "$python" -m intaglio.train.pieces cut "$1/last.pt" "$pieces/$(basename "$1")"; fi
}
export_again() { # RECIPE FOLDER: what was made of last.pt after the training
  "$python" -m intaglio export "$2/last.pt" --data "$photos" -o "$2/$1.itgm" ${rehearse:+--pictures 32}
}
settle() { # RECIPE FOLDER [options]: train, steadily and in several runs if that is asked for
  local recipe=$1 folder=$2 run status=0 running=() still=() ends=() box=("${box[@]}")
  shift 2
  if [[ ! $rehearse && $recipe == *perceptual ]]; then  # what follows has its part of the box, too
    box=(--minutes "$(awk -v m="$minutes" 'BEGIN { print 0.65 * m }')")
  elif [[ ! $rehearse && $runs != 1 ]]; then
    box=(--minutes "$(awk -v m="$minutes" 'BEGIN { print (m > 8 ? m - 2 : 0.75 * m) }')")
  fi
  set -- "$@" ${steady[@]+"${steady[@]}"}
  if ((runs == 1)); then train "$recipe" "$folder" "$@"; return; fi
  if [[ -e $folder/log.jsonl ]]; then
    echo "$0: $folder holds a single run already; go on with that, or choose another OUT" >&2
    exit 2
  fi
  # what runs in the background hears no Ctrl-C: it is passed on, and each run leaves a checkpoint
  trap 'kill ${running[@]+"${running[@]}"} 2> /dev/null; wait; exit 130' INT TERM
  for ((run = 0; run < runs; run++)); do
    words "$recipe" "$folder/run$run" "$@" --seed "$run"
    "${command[@]}" &
    running+=($!)
    ends+=("$folder/run$run/last.pt")
  done
  while ((${#running[@]})); do  # the first that fails stops the others: no mean can be made without it
    still=()
    for run in "${running[@]}"; do
      if kill -0 "$run" 2> /dev/null; then still+=("$run"); else wait "$run" || status=$?; fi
    done
    running=(${still[@]+"${still[@]}"})
    if ((status)); then break; fi
    sleep 0.2
  done
  if ((status)); then
    echo "$0: a run of $recipe failed; the others are stopped, and go on with -- --resume" >&2
    kill ${running[@]+"${running[@]}"} 2> /dev/null || true
    wait
    exit "$status"
  fi
  trap - INT TERM
  "$python" -m intaglio.train.average "$folder/last.pt" "${ends[@]}"
}

if [[ $leg == fidelity || $leg == all ]]; then
  train "$name" "$out/fidelity" ${warm:+--warm "$warm"}
  in_pieces "$out/fidelity"
  last=$out/fidelity
fi
warmed() { if [[ $leg == "$1" && $warm ]]; then echo "$warm"; else echo "$out/$2/last.pt"; fi; } # LEG LEG-BEFORE
if [[ $leg == decoder || $leg == all ]]; then
  train "$name-decoder" "$out/decoder" --warm "$(warmed decoder fidelity)"
  in_pieces "$out/decoder"
  last=$out/decoder
fi
if [[ $leg == perceptual || $leg == all ]]; then
  settle "$name-perceptual" "$out/perceptual" --warm "$(warmed perceptual decoder)"
  "$python" -m intaglio.train.scale "$out/perceptual/last.pt" --data "$photos" ${rehearse:+--crops 4}
  learning=(--crops 400 --minutes "$(awk -v m="$minutes" 'BEGIN { print m / 8 }')")
  if [[ " ${more[*]-} " =~ \ --device[\ =]([a-z]+)\  ]]; then learning+=(--device "${BASH_REMATCH[1]}"); fi
  if [[ $rehearse ]]; then learning=(--crops 17 --minutes 0.1 --device cpu); fi
  "$python" -m intaglio.train.priors "$out/perceptual/last.pt" --data "$photos" "${learning[@]}"
  export_again "$name-perceptual" "$out/perceptual"
  in_pieces "$out/perceptual"
  last=$out/perceptual
fi
if [[ $leg == realism || $leg == all ]]; then
  settle "$name-realism" "$out/realism" --warm "$(warmed realism perceptual)"
  if ((runs > 1)); then export_again "$name-realism" "$out/realism"; fi
  in_pieces "$out/realism"
  last=$out/realism
fi
how=
if [[ $leg == all || $leg == perceptual || $leg == realism ]]; then
  how=${steady:+, at a constant rate}
  if ((runs > 1)); then how+=", the mean of $runs runs"; fi
fi
cp "$last"/*.itgm "$out/$name.itgm"
"$python" -m intaglio.train.release "$out/$name.itgm" ${sources:+--sources "$sources"} \
  --note "runs/release.sh, size $size, legs of $minutes minutes$how"
if [[ $rehearse ]]; then
  picture=$(dirname "${BASH_SOURCE[0]}")/../examples/dog.webp  # PHOTOS may be a pack, or hold other things too
  "$python" -m intaglio roundtrip "$picture" --model "$out/$name.itgm" -o "$out/picture.png" --keep-itg --overwrite
fi
echo "$out/$name.itgm"
