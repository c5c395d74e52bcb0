//! Precision against recall over the thresholds, with the chosen point, as SVG.

use super::chart::{Axes, hex};
use super::overlay::Color;
use crate::metrics::calibration::{Calibration, CurvePoint};
use std::fmt::Write;

const BLUE: Color = [31, 119, 180];
const ORANGE: Color = [230, 110, 10];

/// Recall and precision of a threshold, where it has both.
type Reading = fn(&CurvePoint) -> Option<(f64, f64)>;

/// The curves of pixels and of objects; recall to the right, precision upwards, both from 0 to 1. The chosen threshold is a ring, the
/// threshold for review a square.
pub(super) fn svg(calibration: &Calibration) -> String {
    let axes = Axes::new("Precision and recall on the validation series", [0.0, 1.0], [0.0, 1.0]);
    let pixel: Reading = |c| c.pixel_recall.zip(c.pixel_precision);
    let object: Reading = |c| c.object_recall.zip(c.object_precision);
    let mut inner = axes.grid("recall", "precision");
    for (i, (name, color, value)) in [("pixels", BLUE, pixel), ("objects", ORANGE, object)].into_iter().enumerate() {
        let color = hex(color);
        let points: Vec<(f32, [f64; 2])> = calibration
            .curve
            .iter()
            .filter_map(|c| value(c).map(|(recall, precision)| (c.threshold, axes.place([recall, precision]))))
            .collect();
        let line = points.iter().map(|(_, [x, y])| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ");
        // Writing to a String cannot fail.
        let _ = writeln!(inner, "<polyline points=\"{line}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>");
        let _ = writeln!(inner, "<text x=\"{}\" y=\"20\" fill=\"{color}\">{name}</text>", 420 + 80 * i);
        for (threshold, [x, y]) in points {
            let marked = if threshold == calibration.point.threshold {
                format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\">")
            } else if calibration.review.is_some_and(|review| review.threshold == threshold) {
                format!("<rect x=\"{:.1}\" y=\"{:.1}\" width=\"9\" height=\"9\" fill=\"{color}\">", x - 4.5, y - 4.5)
            } else {
                format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{color}\">")
            };
            let end = if marked.starts_with("<rect") { "rect" } else { "circle" };
            let _ = writeln!(inner, "{marked}<title>{name}, threshold {threshold:.3}</title></{end}>");
        }
    }
    axes.svg(&inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::OperatingPoint;

    #[test]
    fn every_threshold_with_a_precision_is_drawn_and_the_chosen_one_marked() {
        let at = |threshold: f32, precision: Option<f64>| CurvePoint {
            threshold,
            pixel_precision: precision,
            pixel_recall: Some(0.5),
            object_precision: precision,
            object_recall: Some(0.25),
        };
        let point = OperatingPoint { threshold: 0.5, min_area: 0, opening: 0, closing: 0, fill_holes: true };
        let calibration = Calibration {
            point,
            f_half: None,
            pixel_precision: None,
            object_precision: None,
            objects: Default::default(),
            min_precision: None,
            reached: true,
            review: None,
            curve: vec![at(0.25, Some(0.5)), at(0.5, Some(1.0)), at(0.9, None)],
        };
        let svg = svg(&calibration);
        assert_eq!(svg.matches("<title>pixels, threshold").count(), 2, "nothing predicted has no precision");
        assert_eq!(svg.matches("fill=\"none\" stroke=\"#1f77b4\" stroke-width=\"2\"><title>pixels, threshold 0.500").count(), 1);
    }
}
