//! The rows of `bench kernels`: what was measured, what follows from it, and how it is printed.

use super::case::{Case, Convolution};
use super::measure::Measured;
use super::peaks::{Bound, Peaks};
use super::reference::Verdict;
use super::statistics::Spread;
use super::torch;
use serde::Serialize;

/// A measured time with its rates.
#[derive(Clone, Debug, Serialize)]
pub struct Timed {
    pub ms: f64,
    pub ms_lower_quartile: f64,
    pub ms_upper_quartile: f64,
    pub tflop_per_s: f64,
    /// Of the fewest bytes that have to move: every operand once.
    pub gb_per_s: f64,
    /// The roofline's time as a part of the measured one; `None` for a device whose peaks are not known.
    pub peak_share: Option<f64>,
    /// The largest error of sampled outputs against f64, as a part of the largest output; convolutions only.
    pub error: Option<f64>,
    /// Whether rounding explains every error.
    pub within: Option<bool>,
    pub samples: Option<usize>,
}

impl Timed {
    fn new(case: &Case, seconds: Spread, verdict: Option<Verdict>, peaks: Option<&Peaks>) -> Timed {
        let (flops, bytes) = (case.flops() as f64, case.bytes() as f64);
        Timed {
            ms: seconds.median * 1e3,
            ms_lower_quartile: seconds.lower_quartile * 1e3,
            ms_upper_quartile: seconds.upper_quartile * 1e3,
            tflop_per_s: flops / seconds.median / 1e12,
            gb_per_s: bytes / seconds.median / 1e9,
            peak_share: peaks.map(|peaks| peaks.least_seconds(flops, bytes, case.on_tensor_cores()).0 / seconds.median),
            error: verdict.map(|verdict| verdict.error),
            within: verdict.map(|verdict| verdict.within),
            samples: verdict.map(|verdict| verdict.samples),
        }
    }
}

/// What cuDNN took for a case.
#[derive(Clone, Debug)]
pub struct Rival {
    pub measured: Measured,
    /// The fastest engine, by its number and notes.
    pub engine: String,
    pub engines_timed: usize,
}

/// cuDNN's columns.
#[derive(Clone, Debug, Serialize)]
pub struct RivalColumns {
    #[serde(flatten)]
    pub timed: Timed,
    pub engine: String,
    pub engines_timed: usize,
}

/// A case with all that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub id: String,
    pub operation: &'static str,
    pub convolution: Option<Convolution>,
    /// How often a training step does it.
    pub calls: usize,
    pub gflop: f64,
    pub mbytes: f64,
    /// What the roofline says it waits for.
    pub bound: Option<Bound>,
    pub ours: Timed,
    /// `None` where cuDNN is not there or the case is no convolution.
    pub cudnn: Option<RivalColumns>,
    /// Why there is none, if cuDNN is there and refused.
    pub cudnn_error: Option<String>,
    pub torch_ms: Option<f64>,
    /// Whether the comparison counts; `None` without a time of cuDNN and of PyTorch.
    pub counts: Option<bool>,
    /// cuDNN's time as a multiple of ours.
    pub speedup: Option<f64>,
}

/// What is known of a case besides our own time.
#[derive(Debug, Default)]
pub struct Others {
    pub rival: Option<Rival>,
    pub rival_error: Option<String>,
    pub torch_ms: Option<f64>,
}

impl Row {
    pub fn new(case: &Case, ours: &Measured, others: Others, peaks: Option<&Peaks>) -> Row {
        let ours = Timed::new(case, ours.seconds, ours.verdict, peaks);
        let cudnn = others.rival.map(|Rival { measured, engine, engines_timed }| RivalColumns {
            timed: Timed::new(case, measured.seconds, measured.verdict, peaks),
            engine,
            engines_timed,
        });
        let cudnn_ms = cudnn.as_ref().map(|cudnn| cudnn.timed.ms);
        let (flops, bytes) = (case.flops() as f64, case.bytes() as f64);
        // An engine that computed something else was no rival.
        let is_right = cudnn.as_ref().is_none_or(|cudnn| cudnn.timed.within != Some(false)) && ours.within != Some(false);
        Row {
            id: case.id(),
            operation: case.instruction.name(),
            convolution: case.convolution(),
            calls: case.calls,
            gflop: flops / 1e9,
            mbytes: bytes / 1e6,
            bound: peaks.map(|peaks| peaks.least_seconds(flops, bytes, case.on_tensor_cores()).1),
            speedup: cudnn_ms.map(|ms| ms / ours.ms),
            counts: cudnn_ms.zip(others.torch_ms).map(|(cudnn, torch)| is_right && torch::counts(cudnn, torch)),
            ours,
            cudnn,
            cudnn_error: others.rival_error,
            torch_ms: others.torch_ms,
        }
    }

    /// The row as a line under [`head`].
    pub fn line(&self) -> String {
        let Timed { ms, tflop_per_s, gb_per_s, .. } = &self.ours;
        let spread = (self.ours.ms_upper_quartile - self.ours.ms_lower_quartile) / ms * 100.0;
        let share = optional(self.ours.peak_share, |share| format!("{:.1}%", share * 100.0));
        let error = match (self.ours.error, self.ours.within) {
            (Some(error), Some(true)) => format!("{error:.1e}"),
            (Some(error), _) => format!("{error:.1e} WRONG"),
            _ => "-".into(),
        };
        let cudnn = optional(self.cudnn.as_ref(), |cudnn| {
            format!("{:.4}{}", cudnn.timed.ms, if cudnn.timed.within == Some(false) { " WRONG" } else { "" })
        });
        let torch = optional(self.torch_ms, |ms| format!("{ms:.4}"));
        let speedup = optional(self.speedup, |speedup| format!("{speedup:.2}"));
        let counts = optional(self.counts, |counts| if counts { "yes".into() } else { "no".into() });
        format!(
            "{:<64} {:>9.4} {:>6.1}% {:>8.2} {:>8.1} {:>7} {:>13} {:>9} {:>9} {:>7} {:>6}",
            self.id, ms, spread, tflop_per_s, gb_per_s, share, error, cudnn, torch, speedup, counts
        )
    }
}

fn optional<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".into(), text)
}

/// The columns of [`Row::line`].
pub fn head() -> String {
    format!(
        "{:<64} {:>9} {:>7} {:>8} {:>8} {:>7} {:>13} {:>9} {:>9} {:>7} {:>6}",
        "case", "ms", "spread", "TFLOP/s", "GB/s", "peak", "error", "cuDNN ms", "torch ms", "speedup", "counts"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peaks::V100;
    use crate::ops::Instruction;
    use crate::ops::conv2d::Conv2d;
    use crate::tape::{DType, Shape};

    /// 3x3, 64 to 64 channels, 8 images of 512 x 512 in f16: 154.6 GFLOP, 537 MB.
    fn case() -> Case {
        let image = (Shape::image(8, 512, 512, 64), DType::F16);
        let inputs = vec![(Shape([3, 3, 64, 64]), DType::F16), image];
        let instruction = Instruction::Conv2d(Conv2d { two_inputs: false, bias: false });
        Case { instruction, inputs, outputs: vec![image], in_place: false, calls: 3 }
    }

    fn measured(ms: f64, within: bool) -> Measured {
        let seconds = Spread { lower_quartile: 0.99e-3 * ms, median: 1e-3 * ms, upper_quartile: 1.02e-3 * ms };
        Measured { seconds, verdict: Some(Verdict { error: 1e-3, within, samples: 4096 }) }
    }

    fn row(cudnn: Option<(f64, bool)>, torch_ms: Option<f64>) -> Row {
        let rival = cudnn.map(|(ms, within)| Rival { measured: measured(ms, within), engine: "1".into(), engines_timed: 9 });
        Row::new(&case(), &measured(2.0, true), Others { rival, rival_error: None, torch_ms }, Some(&V100))
    }

    /// 2 x 9 x 64 x 64 x 2,097,152 = 154,618,822,656 in 2 ms: 77.3 TFLOP/s, 61.8 % of 125. 536,944,640 bytes in 2 ms: 268 GB/s.
    #[test]
    fn rates_by_hand() {
        let row = row(Some((2.5, true)), Some(2.4));
        assert_eq!((row.gflop, row.mbytes), (154.618822656, 536.944640));
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9 * expected, "{found} {expected}");
        near(row.ours.tflop_per_s, 77.309411328);
        near(row.ours.gb_per_s, 268.472320);
        near(row.ours.peak_share.unwrap(), 0.618475290624);
        assert_eq!(row.bound, Some(Bound::Compute));
        near(row.speedup.unwrap(), 1.25);
        assert_eq!(row.counts, Some(true));
        let line = row.line();
        for text in ["77.31", "268.5", "61.8%", "3.0%", "2.5000", "2.4000", "1.25", "yes", "1.0e-3"] {
            assert!(line.contains(text), "{text} in {line}");
        }
        assert_eq!(line.chars().count(), head().chars().count());
    }

    #[test]
    fn a_row_counts_only_if_cudnn_is_measured_rightly() {
        assert_eq!(row(Some((2.5, true)), Some(2.0)).counts, Some(false));
        assert_eq!(row(Some((2.5, false)), Some(2.5)).counts, Some(false), "the engine computed something else");
        assert_eq!(row(Some((2.5, true)), None).counts, None);
        let alone = row(None, Some(2.0));
        assert_eq!((alone.counts, alone.speedup), (None, None));
        assert!(alone.line().ends_with("-      -"), "{}", alone.line());
    }

    #[test]
    fn wrong_numbers_are_said_to_be_wrong() {
        let row = Row::new(&case(), &measured(2.0, false), Others::default(), None);
        assert!(row.line().contains("WRONG") && row.ours.peak_share.is_none());
    }
}
