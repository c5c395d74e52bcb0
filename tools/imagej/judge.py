"""Compares the coordinates that roifile reads with those that ImageJ read (NAME.points): judge.py FOLDER"""
import pathlib
import sys

import numpy
from roifile import ROI_TYPE, ImagejRoi

n = wrong = 0
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.roi")):
    roi = ImagejRoi.fromfile(path)
    imagej = numpy.loadtxt(path.with_suffix(".points"), ndmin=2)
    if roi.composite:
        parts = ImagejRoi.path2coords(roi.multi_coordinates)
        # ImageJ drops the closing point of each part.
        ours = numpy.vstack([part[:-1] if len(part) > 1 and (part[0] == part[-1]).all() else part for part in parts])
    elif roi.roitype in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        ours = roi.coordinates()
        ours = ours[:-1] if len(ours) == len(imagej) + 1 else ours
    else:
        continue
    n += 1
    if ours.shape != imagej.shape or not numpy.allclose(ours, imagej, atol=1e-3):
        wrong += 1
        print(f"{path.name}: roifile reads other coordinates than ImageJ", file=sys.stderr)
print(f"roifile: {n} ROIs, {wrong} differ")
sys.exit(1 if wrong or not n else 0)
