"""Runs `rodin-watchd` with the arguments after the first, which is the file of the certificates to be trusted in place of certifi's."""

from __future__ import annotations

import runpy
import sys

import certifi

if __name__ == "__main__":
    bundle = sys.argv.pop(1)
    certifi.where = lambda: bundle
    runpy.run_module("rodin_watchd", run_name="__main__")
