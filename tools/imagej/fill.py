"""The pixels of outlines whose corners are whole numbers, by the even-odd rule. Knows nothing of how the project or ImageJ fill."""
import numpy
from roifile import ROI_TYPE, ImagejRoi

CLOSED = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED, ROI_TYPE.RECT)


def parts_of(roi):
    """The closed outlines of a ROI as roifile reads them; None where it encloses nothing or its corners are no whole numbers."""
    if roi.composite:
        parts = ImagejRoi.path2coords(roi.multi_coordinates)
    elif roi.roitype in CLOSED and not roi.subpixelresolution:
        parts = [roi.coordinates()]
    else:
        return None
    parts = [numpy.asarray(part) for part in parts]
    whole = all((part == numpy.round(part)).all() for part in parts)
    return [part.astype(numpy.int64) for part in parts] if whole else None


def fill(parts, width, height):
    """A mask of height x width. A pixel belongs when an odd number of edges passes strictly left of its centre; all in integers."""
    y, x = numpy.mgrid[0:height, 0:width]
    # Twice the centres' coordinates.
    cy, cx = 2 * y + 1, 2 * x + 1
    inside = numpy.zeros((height, width), bool)
    for part in parts:
        for (x0, y0), (x1, y1) in zip(part, numpy.roll(part, -1, axis=0)):
            if y0 == y1:
                continue
            if y0 > y1:
                x0, y0, x1, y1 = x1, y1, x0, y0
            spans = (2 * y0 < cy) & (cy < 2 * y1)
            # x0 + (cy / 2 - y0) (x1 - x0) / (y1 - y0) < cx / 2
            inside ^= spans & (2 * x0 * (y1 - y0) + (cy - 2 * y0) * (x1 - x0) < cx * (y1 - y0))
    return inside
