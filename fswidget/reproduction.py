"""The former name of `fswidget.experiments.report`, which goes on working."""

from fswidget.experiments.report import main as main

if __name__ == "__main__":
    raise SystemExit(main())
