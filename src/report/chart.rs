//! Curves over epochs, drawn twice from one description: as SVG for the report, as pixels for `curves.png`.

use super::font;
use super::html::escape;
use super::overlay::{Canvas, Color};
use std::fmt::Write;

const WHITE: Color = [255; 3];
const GRID: Color = [224; 3];
const INK: Color = [64; 3];

/// Outer size and margins (left, top, right, bottom) of a chart, in pixels.
const SIZE: [f64; 2] = [640.0, 320.0];
const MARGIN: [f64; 4] = [64.0, 40.0, 16.0, 32.0];
/// Horizontal grid lines are this many, plus the lowest.
const N_LINES: usize = 4;
/// Letters of the PNG are enlarged by this factor.
const LETTER: i64 = 2;

/// One curve.
pub struct Curve {
    pub name: &'static str,
    pub color: Color,
    /// A value per epoch; none leaves a gap.
    pub values: Vec<Option<f64>>,
}

/// Curves over the same epochs.
pub struct Chart {
    pub title: &'static str,
    pub curves: Vec<Curve>,
    /// Lower and upper end of the vertical axis; by the values if none are given.
    pub range: Option<[f64; 2]>,
}

impl Chart {
    fn n_epochs(&self) -> usize {
        self.curves.iter().map(|c| c.values.len()).max().unwrap_or(0)
    }

    fn range(&self) -> [f64; 2] {
        let values = || self.curves.iter().flat_map(|c| c.values.iter().flatten().copied().filter(|v| v.is_finite()));
        let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        match self.range {
            Some(range) => range,
            None if low < high => [low.min(0.0), high],
            None if low.is_finite() => [low.min(0.0), low.max(0.0) + 1.0],
            None => [0.0, 1.0],
        }
    }

    /// Where a value of epoch `epoch` (from 0) lies.
    fn place(&self, epoch: usize, value: f64) -> [f64; 2] {
        let [low, high] = self.range();
        let [left, top, right, bottom] = MARGIN;
        let across = epoch as f64 / (self.n_epochs().max(2) - 1) as f64;
        let up = ((value - low) / (high - low)).clamp(0.0, 1.0);
        [left + across * (SIZE[0] - left - right), SIZE[1] - bottom - up * (SIZE[1] - top - bottom)]
    }

    /// The places of a curve's values, a list for each stretch without gaps.
    fn stretches(&self, curve: &Curve) -> Vec<Vec<[f64; 2]>> {
        let mut stretches = vec![Vec::new()];
        for (epoch, value) in curve.values.iter().enumerate() {
            match (value.filter(|v| v.is_finite()), stretches.last_mut()) {
                (Some(value), Some(stretch)) => stretch.push(self.place(epoch, value)),
                _ => stretches.push(Vec::new()),
            }
        }
        stretches.retain(|stretch| !stretch.is_empty());
        stretches
    }

    /// Values at the horizontal lines.
    fn levels(&self) -> Vec<f64> {
        let [low, high] = self.range();
        (0..=N_LINES).map(|i| low + (high - low) * i as f64 / N_LINES as f64).collect()
    }

    /// The chart as an SVG element.
    pub fn svg(&self) -> String {
        let [width, height] = SIZE;
        let mut svg =
            format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" font-size=\"12\" font-family=\"sans-serif\">\n");
        let mut line = |text: String| svg.push_str(&(text + "\n"));
        line(format!("<title>{0}</title><text x=\"8\" y=\"20\" font-size=\"15\">{0}</text>", escape(self.title)));
        for level in self.levels() {
            let [x, y] = self.place(0, level);
            line(format!("<line x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>", width - MARGIN[2]));
            line(format!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{level:.2}</text>", x - 6.0, y + 4.0));
        }
        for (epoch, anchor) in [(0, "start"), (self.n_epochs().max(1) - 1, "end")] {
            let [x, _] = self.place(epoch, 0.0);
            line(format!("<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">epoch {}</text>", height - 10.0, epoch + 1));
        }
        for (i, curve) in self.curves.iter().enumerate() {
            let color = hex(curve.color);
            line(format!("<text x=\"{}\" y=\"20\" fill=\"{color}\">{}</text>", legend_x(i), escape(curve.name)));
            for stretch in self.stretches(curve) {
                let points = stretch.iter().fold(String::new(), |mut text, [x, y]| {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "{x:.1},{y:.1} ");
                    text
                });
                line(format!("<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>", points.trim_end()));
            }
        }
        svg + "</svg>"
    }

    fn draw(&self, canvas: &mut Canvas, top: f64) {
        let at = |[x, y]: [f64; 2]| [x, y + top];
        text(canvas, [8, top as i64 + 12], self.title, INK);
        for level in self.levels() {
            let [x, y] = at(self.place(0, level));
            stroke(canvas, [x, y], [SIZE[0] - MARGIN[2], y], GRID, 1);
            let label = format!("{level:.2}");
            text(canvas, [x as i64 - 6 - text_width(&label), y as i64 - 5], &label, INK);
        }
        let last = format!("epoch {}", self.n_epochs());
        let label_y = (top + SIZE[1] - 20.0) as i64;
        text(canvas, [(SIZE[0] - MARGIN[2]) as i64 - text_width(&last), label_y], &last, INK);
        text(canvas, [MARGIN[0] as i64, label_y], "epoch 1", INK);
        for (i, curve) in self.curves.iter().enumerate() {
            text(canvas, [legend_x(i) as i64, top as i64 + 12], curve.name, curve.color);
            for stretch in self.stretches(curve) {
                stroke(canvas, at(stretch[0]), at(stretch[0]), curve.color, 2);
                stretch.windows(2).for_each(|ends| stroke(canvas, at(ends[0]), at(ends[1]), curve.color, 2));
            }
        }
    }
}

/// The frame of a plot of one number against another.
pub(super) struct Axes {
    title: &'static str,
    x: [f64; 2],
    y: [f64; 2],
}

impl Axes {
    /// Axes of the ranges `x` and `y`.
    pub fn new(title: &'static str, x: [f64; 2], y: [f64; 2]) -> Axes {
        Axes { title, x, y }
    }

    /// Where a point lies.
    pub fn place(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [left, top, right, bottom] = MARGIN;
        let share = |value: f64, [low, high]: [f64; 2]| ((value - low) / (high - low)).clamp(0.0, 1.0);
        [left + share(x, self.x) * (SIZE[0] - left - right), SIZE[1] - bottom - share(y, self.y) * (SIZE[1] - top - bottom)]
    }

    /// Lines and numbers of both axes, with their names.
    pub fn grid(&self, x_name: &str, y_name: &str) -> String {
        let [right, top] = self.place([self.x[1], self.y[1]]);
        let [left, bottom] = self.place([self.x[0], self.y[0]]);
        let mut svg = String::new();
        // Writing to a String cannot fail.
        for i in 0..=N_LINES {
            let share = i as f64 / N_LINES as f64;
            let (level_x, level_y) = (self.x[0] + share * (self.x[1] - self.x[0]), self.y[0] + share * (self.y[1] - self.y[0]));
            let [x, y] = self.place([level_x, level_y]);
            let _ = writeln!(svg, "<line x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>");
            let _ = writeln!(svg, "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\" stroke=\"#ddd\"/>");
            let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{level_y:.2}</text>", left - 6.0, y + 4.0);
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{level_x:.2}</text>", bottom + 16.0);
        }
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{x_name}</text>", right, bottom - 6.0);
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">{y_name}</text>", left + 6.0, top + 14.0);
        svg
    }

    /// The whole element around `inner`.
    pub fn svg(&self, inner: &str) -> String {
        let [width, height] = SIZE;
        let title = escape(self.title);
        format!(
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" font-size=\"12\" font-family=\"sans-serif\">\n\
             <title>{title}</title><text x=\"8\" y=\"20\" font-size=\"15\">{title}</text>\n{inner}</svg>"
        )
    }
}

/// Charts below one another.
pub fn draw(charts: &[Chart]) -> Canvas {
    let mut canvas = Canvas::new(SIZE[0] as usize, SIZE[1] as usize * charts.len().max(1), WHITE);
    charts.iter().enumerate().for_each(|(i, chart)| chart.draw(&mut canvas, i as f64 * SIZE[1]));
    canvas
}

fn legend_x(i: usize) -> usize {
    200 + 140 * i
}

pub(super) fn hex([r, g, b]: Color) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// A line of `thickness` pixels.
fn stroke(canvas: &mut Canvas, [x0, y0]: [f64; 2], [x1, y1]: [f64; 2], color: Color, thickness: i64) {
    let n_steps = (x1 - x0).abs().max((y1 - y0).abs()).ceil().max(1.0);
    for i in 0..=n_steps as usize {
        let share = i as f64 / n_steps;
        let (x, y) = ((x0 + share * (x1 - x0)).round() as i64, (y0 + share * (y1 - y0)).round() as i64);
        (0..thickness * thickness).for_each(|k| canvas.set(x + k % thickness, y + k / thickness, color));
    }
}

fn text_width(text: &str) -> i64 {
    text.chars().count() as i64 * (font::GLYPH[0] + 1) * LETTER
}

fn text(canvas: &mut Canvas, [x, y]: [i64; 2], text: &str, color: Color) {
    let [width, height] = font::GLYPH;
    for (i, letter) in text.chars().enumerate() {
        let rows = font::glyph(letter);
        for row in 0..height * LETTER {
            for column in 0..width * LETTER {
                let bit = width - 1 - column / LETTER;
                if rows[(row / LETTER) as usize] >> bit & 1 == 1 {
                    canvas.set(x + i as i64 * (width + 1) * LETTER + column, y + row, color);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[Option<f64>]) -> Chart {
        Chart { title: "Loss", curves: vec![Curve { name: "train", color: [255, 0, 0], values: values.to_vec() }], range: None }
    }

    #[test]
    fn curves_break_at_gaps_and_bad_numbers() {
        let chart = chart(&[Some(1.0), Some(0.5), None, Some(0.25), Some(f64::NAN), Some(0.1)]);
        let lengths: Vec<usize> = chart.stretches(&chart.curves[0]).iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1, 1]);
        let svg = chart.svg();
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(svg.contains("epoch 6") && !svg.contains("NaN"));
    }

    #[test]
    fn one_epoch_and_none_can_be_drawn() {
        for values in [&[][..], &[Some(0.7)][..], &[None][..]] {
            let chart = chart(values);
            assert!(!chart.svg().contains("NaN") && !chart.svg().contains("inf"));
            let canvas = draw(&[chart]);
            let red = canvas.pixels.chunks_exact(3).filter(|p| *p == [255, 0, 0]).count();
            assert!(red > 0, "the legend is drawn");
        }
    }
}
