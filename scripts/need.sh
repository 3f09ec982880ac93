#!/usr/bin/env bash
# Checks that a tool of the system is there; as root on Debian or Ubuntu it installs it, otherwise it
# says what to install. Usage: scripts/need.sh python|node|chromium
set -euo pipefail

PYTHON=${PYTHON:-python3}

missing() { # what is missing, what to install
  echo "fswidget: $1. Install $2 and run make again." >&2
  exit 1
}

apt_install() { # what is missing, what to install by hand, packages
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    missing "$1" "$2"
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || missing "$1" "$2"
  apt-get install -y -qq --no-install-recommends "${@:3}" >/dev/null || missing "$1" "$2"
}

has_chromium() {
  for name in "${FSWIDGET_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
    if [ -n "$name" ] && command -v "$name" >/dev/null; then return 0; fi
  done
  return 1
}

case "$1" in
  python)
    command -v "$PYTHON" >/dev/null || apt_install "python3 was not found" \
      "Python 3.11 or newer with its venv module (Debian: apt install python3 python3-venv)" \
      python3 python3-venv
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
      missing "$("$PYTHON" --version) is too old" "Python 3.11 or newer (make PYTHON=python3.12 … picks one)"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || apt_install "Python's venv module was not found" \
      "it (Debian: apt install python3-venv)" python3-venv
    ;;
  node)
    command -v npm >/dev/null || apt_install "npm was not found" \
      "Node.js 20 or newer (nodejs.org; Debian: apt install nodejs npm)" nodejs npm
    node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' ||
      missing "Node.js $(node --version) is too old" "Node.js 20 or newer (nodejs.org)"
    ;;
  chromium)
    has_chromium || apt_install "the browser tests need Chromium" \
      "it (Debian: apt install chromium; elsewhere name one in FSWIDGET_CHROMIUM)" chromium
    ;;
  *)
    echo "usage: $0 python|node|chromium" >&2
    exit 2
    ;;
esac
