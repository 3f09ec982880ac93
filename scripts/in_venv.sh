#!/usr/bin/env bash
# Runs a command that finds the tools of .venv first, whether or not it is active.
PATH="$(cd "$(dirname "$0")/.." && pwd)/.venv/bin:$PATH" exec "$@"
