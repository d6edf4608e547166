#!/usr/bin/env python3
"""Writes the cut-off that `bt-query eval --json` suggests into a checkpoint's calibration.json."""

import json
import sys
from pathlib import Path

report, out = sys.argv[1:]
suggested = json.loads(Path(report).read_text())["cut_offs"]["suggested"]
Path(out).write_text(json.dumps(suggested, indent=1) + "\n")
print(f"min_score {suggested['min_score']} in {out}")
