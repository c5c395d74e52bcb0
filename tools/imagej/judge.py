"""Judges by roifile: the coordinates against those that ImageJ read (NAME.points), the pixels against NAME.pgm: judge.py FOLDER"""
import pathlib
import sys

import numpy
from fill import fill, parts_of
from roifile import ROI_TYPE, ImagejRoi


def same_coordinates(roi, imagej):
    """Whether the corners are ImageJ's; None for types whose corners roifile makes up."""
    if roi.composite:
        parts = ImagejRoi.path2coords(roi.multi_coordinates)
        # ImageJ drops the closing point of each part.
        ours = numpy.vstack([part[:-1] if len(part) > 1 and (part[0] == part[-1]).all() else part for part in parts])
    elif roi.roitype in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        ours = roi.coordinates()
        ours = ours[:-1] if len(ours) == len(imagej) + 1 else ours
    else:
        return None
    return ours.shape == imagej.shape and numpy.allclose(ours, imagej, atol=1e-3)


def differing_pixels(roi, pgm):
    """How many pixels differ from the mask; None where the corners are no whole numbers."""
    parts = parts_of(roi)
    if parts is None:
        return None
    _, width, height, _ = pgm.split(maxsplit=4)[:4]
    width, height = int(width), int(height)
    mask = numpy.frombuffer(pgm[len(pgm) - width * height :], numpy.uint8).reshape(height, width) != 0
    return int((fill(parts, width, height) != mask).sum())


n = {"coordinates": 0, "pixels": 0}
wrong = 0
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.roi")):
    roi = ImagejRoi.fromfile(path)
    same = same_coordinates(roi, numpy.loadtxt(path.with_suffix(".points"), ndmin=2))
    differing = differing_pixels(roi, path.with_suffix(".pgm").read_bytes())
    n["coordinates"] += same is not None
    n["pixels"] += differing is not None
    if same is False:
        print(f"{path.name}: roifile reads other coordinates than ImageJ", file=sys.stderr)
    if differing:
        print(f"{path.name}: {differing} pixels differ from an even-odd fill of what roifile reads", file=sys.stderr)
    wrong += same is False or bool(differing)
print(f"roifile: {n['coordinates']} ROIs by coordinates, {n['pixels']} by pixels, {wrong} differ")
sys.exit(1 if wrong or not all(n.values()) else 0)
