"""Prints what roifile reads from ROI files, one JSON line a ROI with the keys of Describe.java: describe.py FOLDER FILE...

The files are named relative to FOLDER. "runs" are lengths of runs outside and inside of the mask in turn, row by row through the box,
beginning outside; null where the corners are no whole numbers."""
import json
import pathlib
import sys
import zipfile

import numpy
from fill import fill, parts_of
from roifile import ROI_COLOR_NONE, ImagejRoi


def runs_of(mask):
    pixels = numpy.concatenate([[False], mask.ravel()])
    changes = numpy.flatnonzero(pixels[1:] != pixels[:-1])
    return numpy.diff(numpy.concatenate([[0], changes, [mask.size]])).tolist()


def describe(file, entry, data):
    roi = ImagejRoi.frombytes(data)
    left, top, width, height = int(roi.left), int(roi.top), int(roi.right - roi.left), int(roi.bottom - roi.top)
    parts = parts_of(roi)
    return {
        "file": file,
        "entry": entry,
        "name": roi.name,
        "bounds": [left, top, width, height],
        "position": int(roi.position),
        "group": int(roi.group),
        "strokeColor": None if roi.stroke_color == ROI_COLOR_NONE else bytes(roi.stroke_color).hex(),
        "props": roi.props or None,
        "runs": None if parts is None else runs_of(fill([part - [left, top] for part in parts], width, height)),
    }


folder = pathlib.Path(sys.argv[1])
for name in sys.argv[2:]:
    if not name.endswith(".zip"):
        print(json.dumps(describe(name, "", (folder / name).read_bytes())))
        continue
    with zipfile.ZipFile(folder / name) as archive:
        for entry in archive.namelist():
            print(json.dumps(describe(name, entry, archive.read(entry))))
