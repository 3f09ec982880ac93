"""``python -m fswidget``."""

from fswidget.cli import main as main

if __name__ == "__main__":
    raise SystemExit(main())
