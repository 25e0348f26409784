# setup.sh: installs what is missing to build winnow (sourced by sweeps/demo/run and tests/run).
#
#   wn_install_packages "package ..."   Debian or Ubuntu; says what it installs, uses sudo when not root
# SPDX-License-Identifier: Apache-2.0

wn_build_packages="build-essential cmake ninja-build pkg-config git openmpi-bin libopenmpi-dev libhdf5-openmpi-dev
  hdf5-tools libopenblas-openmp-dev libcjson-dev libpcre2-dev libssl-dev zlib1g-dev libdnnl-dev"

wn_install_packages() {
  local missing=() package
  if ! command -v dpkg-query >/dev/null; then
    echo "This is no Debian or Ubuntu. Make sure these are there, under your system's names: $*" >&2
    return 0
  fi
  for package in $*; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  echo "Installing: ${missing[*]}"
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "Not root and no sudo: ask your administrator to install them." >&2; return 1; }
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      "${missing[@]}" >/dev/null
}

# mpirun refuses root and more ranks than cores unless told; harmless otherwise.
if [ "$(id -u)" = 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
export OMPI_MCA_rmaps_base_oversubscribe=1
