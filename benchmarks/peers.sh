#!/usr/bin/env bash
# Installs the peers that `make bench` compares with, each in a virtual environment of its own, outside the repository.
#
#   benchmarks/peers.sh [FOLDER]        default: ${XDG_CACHE_HOME:-~/.cache}/bedside-benchmarks
#
# Without them `make bench` says that it skips them. PYTHON chooses the interpreter. About 1 GB and two minutes, once.
set -euo pipefail

folder="${1:-${XDG_CACHE_HOME:-$HOME/.cache}/bedside-benchmarks}"
python="${PYTHON:-python3}"

install() {
  local name="$1"
  shift
  if [[ -f "$folder/$name/.installed" ]]; then
    echo "── $name is there"
    return
  fi
  echo "── installing $name into $folder/$name"
  "$python" -m venv --clear "$folder/$name"
  "$folder/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
  touch "$folder/$name/.installed"
}

install kserve 'kserve==0.21.0' 'scikit-learn>=1.5'
# uvloop: MLServer 1.7.1 relies on an implicit event loop, which 0.22 took away.
install mlserver 'mlserver==1.7.1' 'mlserver-sklearn==1.7.1' 'uvloop<0.22'
