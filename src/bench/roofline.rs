//! What the kernels can reach on a GPU, counted from shapes, launches and compiled code: no GPU is needed, and nothing is measured.

use super::case::Case;
use super::measure::record;
use super::occupancy::{Limit, Needs, Occupancy};
use super::peaks::{Bound, Peaks};
use super::resources::Resources;
use super::traffic::{Kernels, tile_bytes};
use crate::backend::cuda::{self, driver::Launch};
use crate::error::Result;
use crate::plan::{PersistentLayout, Plan, PlanOptions};
use serde::Serialize;

/// A case on a GPU.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub id: String,
    /// How often a training step does it.
    pub calls: usize,
    /// The first of its launches, which does the work; others add what its blocks found.
    pub kernel: String,
    pub launches: usize,
    pub gflop: f64,
    /// Every operand once.
    pub mbytes: f64,
    /// Between cache and multiprocessors, by the convolution's own tiles.
    pub tile_mbytes: Option<f64>,
    pub flop_per_byte: f64,
    pub bound: Bound,
    /// The roofline.
    pub least_ms: f64,
    pub blocks: usize,
    /// Rounds that the blocks take over all multiprocessors.
    pub waves: Option<f64>,
    pub warps: Option<usize>,
    pub limit: Option<Limit>,
    pub registers: Option<usize>,
    pub shared: Option<usize>,
    /// Instructions for tensor cores among those of the hot loop.
    pub tensor_share: Option<f64>,
}

/// Counts every case on a GPU. `resources`: of all kernels, if they are known.
///
/// # Errors
/// If a case cannot be planned.
pub fn rows(cases: &[Case], gpu: &Peaks, resources: &[Resources]) -> Result<Vec<Row>> {
    cases.iter().map(|case| row(case, gpu, resources)).collect()
}

/// The launches of a case.
fn launches(case: &Case, gpu: &Peaks) -> Result<Vec<Launch>> {
    let tape = record(case)?;
    let layout = PersistentLayout::new(&[&tape]);
    let options = PlanOptions { fuse: false, ..PlanOptions::default() };
    let plan = Plan::new(&tape, &layout, options, &cuda::scratch)?;
    Ok(cuda::launches(&plan, layout.bytes(), gpu.target, gpu.multiprocessors))
}

fn row(case: &Case, gpu: &Peaks, resources: &[Resources]) -> Result<Row> {
    let launches = launches(case, gpu)?;
    let blocks_of = |launch: &Launch| launch.grid.iter().map(|&n| n as usize).product::<usize>();
    // A step of no launch does not exist; one without a name would show it.
    let (kernel, blocks, threads, dynamic_shared) = launches.first().map_or_else(Default::default, |first| {
        (first.kernel.clone(), blocks_of(first), first.threads as usize, first.shared_bytes as usize)
    });
    let known = resources.iter().find(|known| known.kernel == kernel && known.target == gpu.target);
    let occupancy = known
        .map(|known| Occupancy::of(Needs { registers: known.registers, shared: known.shared + dynamic_shared, threads }, gpu));
    let (flops, bytes) = (case.flops() as f64, case.bytes() as f64);
    let (seconds, bound) = gpu.least_seconds(flops, bytes, case.on_tensor_cores());
    Ok(Row {
        id: case.id(),
        calls: case.calls,
        launches: launches.len(),
        gflop: flops / 1e9,
        mbytes: bytes / 1e6,
        tile_mbytes: case.convolution().and_then(|c| {
            let kernels = kernels_of(&kernel)?;
            Some(tile_bytes(&c, kernels, splits(case, &launches)) as f64 / 1e6)
        }),
        flop_per_byte: flops / bytes,
        bound,
        least_ms: seconds * 1e3,
        blocks,
        waves: occupancy.filter(|o| o.blocks > 0).map(|o| blocks as f64 / (o.blocks * gpu.multiprocessors) as f64),
        warps: occupancy.map(|o| o.warps),
        limit: occupancy.map(|o| o.limit),
        registers: known.map(|known| known.registers),
        shared: known.map(|known| known.shared + dynamic_shared),
        tensor_share: known.filter(|k| k.tensor > 0).map(|k| k.tensor as f64 / k.loop_instructions as f64),
        kernel,
    })
}

/// Whose tiles a kernel has; `None` if it has none, as between an image of one channel and one of many.
fn kernels_of(kernel: &str) -> Option<Kernels> {
    let narrow = ["_spread", "_dot", "_narrow"].iter().any(|part| kernel.contains(part));
    match kernel.contains("_warpgroup") {
        _ if narrow => None,
        true => Some(Kernels::Warpgroups),
        false => Some(Kernels::Common),
    }
}

/// Parts of a sum that is split among blocks, from the memory that the second launch reads.
fn splits(case: &Case, launches: &[Launch]) -> usize {
    match launches {
        [_, sum, ..] => sum.operands.first().map_or(1, |partials| partials.bytes as usize / (case.outputs[0].0.len() * 4)),
        _ => 1,
    }
}

/// The rows as a table in Markdown.
pub fn markdown(rows: &[Row]) -> String {
    let head = [
        "case",
        "calls",
        "kernel",
        "GFLOP",
        "MB",
        "tiles MB",
        "FLOP/B",
        "bound",
        "least ms",
        "blocks",
        "waves",
        "warps",
        "limit",
        "tensor share",
    ];
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), " --- |".repeat(head.len()));
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    for row in rows {
        let bound = if row.bound == Bound::Compute { "compute" } else { "memory" };
        let cells = [
            row.id.clone(),
            row.calls.to_string(),
            format!("`{}`", row.kernel),
            format!("{:.2}", row.gflop),
            format!("{:.1}", row.mbytes),
            or_dash(row.tile_mbytes.map(|mb| format!("{mb:.0}"))),
            format!("{:.0}", row.flop_per_byte),
            bound.into(),
            format!("{:.4}", row.least_ms),
            row.blocks.to_string(),
            or_dash(row.waves.map(|waves| format!("{waves:.1}"))),
            or_dash(row.warps.map(|warps| warps.to_string())),
            or_dash(row.limit.map(|limit| format!("{limit:?}").to_lowercase())),
            or_dash(row.tensor_share.map(|share| format!("{share:.2}"))),
        ];
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

/// The sum of the rooflines of a training step, in milliseconds.
pub fn least_ms_of_step(rows: &[Row]) -> f64 {
    rows.iter().map(|row| row.least_ms * row.calls as f64).sum()
}

#[cfg(test)]
mod tests {
    use super::super::case::{Network, cases};
    use super::super::peaks::V100;
    use super::*;
    use crate::model::{Arch, NetworkSpec};
    use crate::plan::Precision;

    fn standard() -> Vec<Case> {
        let spec = NetworkSpec { arch: Arch::Standard, base: 64, levels: 4, channels_in: 1, channels_out: 1 };
        cases(&[Network { spec, size: 512, batch: 8, precision: Precision::Mixed }], true).unwrap()
    }

    /// 3x3, 64 to 64 channels, 8 images of 512 x 512 on a V100: 154.6 GFLOP at 125 TFLOP/s. 64 x 32 x 8 blocks of 4 warps, two a multiprocessor.
    #[test]
    fn a_layer_by_hand() {
        let id = "conv2d 3x3 512x512 64 -> 64 n8 f16";
        let cases: Vec<Case> = standard().into_iter().filter(|case| case.id() == id).collect();
        let resources = Resources {
            kernel: "conv2d_3x3_f16".into(),
            target: "sm_70".into(),
            registers: 141,
            shared: 42_624,
            tensor: 256,
            loop_instructions: 512,
        };
        let row = &rows(&cases, &V100, &[resources]).unwrap()[0];
        assert_eq!((row.kernel.as_str(), row.blocks, row.launches), ("conv2d_3x3_f16", 64 * 32 * 8, 1));
        assert!((row.least_ms - 154.618822656 / 125.0).abs() < 1e-9 && row.bound == Bound::Compute, "{row:?}");
        assert_eq!((row.warps, row.limit, row.tensor_share), (Some(8), Some(Limit::Shared), Some(0.5)));
        assert_eq!(row.waves, Some(16_384.0 / 160.0));
    }

    /// Every case of a step has a launch, and without a table nothing is made up.
    #[test]
    fn every_case_is_counted() {
        let cases = standard();
        let rows = rows(&cases, &V100, &[]).unwrap();
        assert!(rows.len() == cases.len() && rows.iter().all(|row| row.launches > 0 && row.blocks > 0), "{rows:?}");
        assert!(rows.iter().all(|row| row.warps.is_none() && row.tensor_share.is_none()));
        // A step is bound by arithmetic: 9.2 TFLOP at 125 TFLOP/s are 74 ms, and what is bound by memory adds to it.
        let least = least_ms_of_step(&rows);
        assert!((74.0..130.0).contains(&least), "{least}");
        assert_eq!(markdown(&rows).lines().count(), rows.len() + 2);
    }
}
