//! Times cuDNN's best engine for a convolution on the same numbers, and judges what it wrote by the same reference.
//!
//! Two images whose channels follow one another are one tensor for cuDNN, biases are left out, and a gradient of f16 weights is f16, as in
//! PyTorch; ours is f32.

use super::case::{Case, Convolution, Kind, Pass};
use super::data::{Numbers, decode};
use super::measure::{Measured, Settings};
use super::reference::Reference;
use super::statistics::Spread;
use super::table::Rival;
use crate::backend::cuda::cudnn::{Cudnn, Engine, Operation, Pack, Problem};
use crate::backend::cuda::driver::{Address, Driver, Gpu};
use crate::error::{Error, Result};
use crate::tape::{DType, Shape};

/// How often every engine is timed before the fastest are timed in full, and how many those are. An engine that takes a multiple of the
/// quickest so far is not timed again.
const LOOK: Settings = Settings { warm_up: 1, repeats: 1, cache_bytes: 0, flush_bytes: 0 };
const HOPELESS: f64 = 3.0;
const TRIALS: Settings = Settings { warm_up: 0, repeats: 5, cache_bytes: 0, flush_bytes: 0 };
const FINALISTS: usize = 3;

/// The best of all engines.
///
/// # Errors
/// If cuDNN has no engine for the case, or the device fails.
pub fn measure(cudnn: &Cudnn, gpu: &mut Gpu, case: &Case, reference: &Reference, settings: &Settings) -> Result<Rival> {
    let problem = problem(reference.convolution());
    let mut engines = cudnn.engines(&problem)?;
    let mut memory = Memory::default();
    let found = memory.place(gpu, case, reference.convolution(), &engines, settings).and_then(|()| {
        let engines_timed = engines.len();
        let best = best_of(cudnn, gpu, &memory, &mut engines, settings)?;
        let verdict = memory.judge(gpu, reference)?;
        let measured = Measured { seconds: best.1, verdict: Some(verdict) };
        Ok(Rival { measured, engine: best.0, engines_timed })
    });
    memory.release(gpu);
    found
}

/// Name and times of the fastest engine, which ran last.
fn best_of(
    cudnn: &Cudnn,
    gpu: &mut Gpu,
    memory: &Memory,
    engines: &mut Vec<Engine>,
    settings: &Settings,
) -> Result<(String, Spread)> {
    let packs = memory.packs(cudnn)?;
    let mut trials: Vec<(f64, Engine)> = Vec::with_capacity(engines.len());
    let mut quickest = f64::INFINITY;
    for engine in engines.drain(..) {
        // What fails when it runs is no rival, nor what one look shows to be far behind.
        let promising = time(cudnn, gpu, memory, &packs, &engine, &LOOK).is_ok_and(|look| look.median < HOPELESS * quickest);
        if !promising {
            continue;
        }
        if let Ok(spread) = time(cudnn, gpu, memory, &packs, &engine, &TRIALS) {
            quickest = quickest.min(spread.median);
            trials.push((spread.median, engine));
        }
    }
    trials.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut finals = Vec::with_capacity(FINALISTS);
    for (_, engine) in trials.iter().take(FINALISTS) {
        finals.push((time(cudnn, gpu, memory, &packs, engine, settings)?, engine));
    }
    let best = finals.into_iter().min_by(|a, b| a.0.median.total_cmp(&b.0.median));
    let (spread, engine) = best.ok_or_else(|| Error::device("every engine of cuDNN failed"))?;
    memory.poison(gpu)?;
    for pack in &packs {
        cudnn.run(engine, pack)?;
    }
    Ok((engine.name.clone(), spread))
}

fn time(cudnn: &Cudnn, gpu: &mut Gpu, memory: &Memory, packs: &[Pack], engine: &Engine, settings: &Settings) -> Result<Spread> {
    let mut seconds = Vec::with_capacity(settings.repeats);
    for run in 0..settings.warm_up + settings.repeats {
        let (flush, bytes) = memory.flush;
        gpu.zero(flush, bytes)?;
        let taken = gpu.time_work(|_| cudnn.run(engine, &packs[run % packs.len()]))?;
        if run >= settings.warm_up {
            seconds.push(taken);
        }
    }
    Ok(Spread::of(&seconds))
}

/// The device memory of one case.
#[derive(Default)]
struct Memory {
    all: Vec<Address>,
    /// x, w and y of every copy.
    copies: Vec<[Address; 3]>,
    workspace: Address,
    flush: (Address, usize),
    /// Which of a copy is the output, and its shape in memory.
    output: usize,
    shape: [usize; 4],
    dtype: Option<DType>,
}

impl Memory {
    fn allocate(&mut self, gpu: &mut Gpu, bytes: usize) -> Result<Address> {
        let address = gpu.allocate(bytes.max(1))?;
        self.all.push(address);
        Ok(address)
    }

    fn place(&mut self, gpu: &mut Gpu, case: &Case, c: &Convolution, engines: &[Engine], settings: &Settings) -> Result<()> {
        let operands = operands(case, c);
        self.output = operands.iter().position(Option::is_none).unwrap_or(0);
        self.shape = shapes(c)[self.output];
        let dtype = if c.half { DType::F16 } else { DType::F32 };
        self.dtype = Some(dtype);
        for _ in 0..settings.copies(case) {
            let mut copy = [0; 3];
            for ((place, shape), bytes) in copy.iter_mut().zip(shapes(c)).zip(&operands) {
                *place = self.allocate(gpu, Shape(shape).len() * dtype.size())?;
                if let Some(bytes) = bytes {
                    gpu.write(*place, bytes)?;
                }
            }
            self.copies.push(copy);
        }
        let workspace = engines.iter().map(|engine| engine.workspace_bytes).max().unwrap_or(0);
        self.workspace = self.allocate(gpu, workspace)?;
        self.flush = (self.allocate(gpu, settings.flush_bytes)?, settings.flush_bytes);
        self.poison(gpu)
    }

    /// Outputs hold no numbers until they are written.
    fn poison(&self, gpu: &mut Gpu) -> Result<()> {
        let nothing = vec![0xFF; self.output_bytes()];
        self.copies.iter().try_for_each(|copy| gpu.write(copy[self.output], &nothing))
    }

    fn output_bytes(&self) -> usize {
        Shape(self.shape).len() * self.dtype.map_or(0, DType::size)
    }

    fn packs(&self, cudnn: &Cudnn) -> Result<Vec<Pack>> {
        self.copies.iter().map(|&copy| cudnn.pack(copy, self.workspace)).collect()
    }

    fn judge(&self, gpu: &Gpu, reference: &Reference) -> Result<super::reference::Verdict> {
        let mut bytes = vec![0; self.output_bytes()];
        let copy = self.copies.last().ok_or_else(|| Error::device("no copy of the operands"))?;
        gpu.read(copy[self.output], &mut bytes)?;
        let dtype = self.dtype.unwrap_or(DType::F32);
        let c = reference.convolution();
        Ok(reference.judge_by(|place| (decode(&bytes, dtype, index_in_output(c, place)), dtype), false))
    }

    fn release(&mut self, gpu: &mut Gpu) {
        self.all.drain(..).for_each(|address| gpu.release(address));
    }
}

/// Where a place of our output lies in cuDNN's: images lie the same way, filters as [k, r, s, c].
fn index_in_output(c: &Convolution, [a, b, d, e]: [usize; 4]) -> usize {
    let [_, extent_1, extent_2, extent_3] = shapes(c)[output_of(c.pass, c.kind)];
    let at = match (c.pass, c.kind) {
        (Pass::WeightGrad, Kind::Conv2d) => [e, a, b, d],
        (Pass::WeightGrad, Kind::ConvTranspose2d) => [d, a, b, e],
        _ => [a, b, d, e],
    };
    ((at[0] * extent_1 + at[1]) * extent_2 + at[2]) * extent_3 + at[3]
}

/// x, w and y of cuDNN's convolution in the order of memory: [n, h, w, c] and [k, r, s, c]. A transposed convolution is the gradient of the
/// data of one from its output to its input.
fn shapes(c: &Convolution) -> [[usize; 4]; 3] {
    let (r, ci, co) = (c.kernel, c.ci(), c.channels_out);
    match c.kind {
        Kind::Conv2d => [c.x().0, [co, r, r, ci], c.y().0],
        Kind::ConvTranspose2d => [c.y().0, [ci, r, r, co], c.x().0],
    }
}

/// Which of x, w and y a pass writes.
fn output_of(pass: Pass, kind: Kind) -> usize {
    match (pass, kind) {
        (Pass::WeightGrad, _) => 1,
        (Pass::Forward, Kind::Conv2d) | (Pass::DataGrad, Kind::ConvTranspose2d) => 2,
        (Pass::DataGrad, Kind::Conv2d) | (Pass::Forward, Kind::ConvTranspose2d) => 0,
    }
}

fn problem(c: &Convolution) -> Problem {
    let [x, w, y] = shapes(c).map(|[a, b, d, e]| [a, e, b, d]);
    let operation = [Operation::BackwardData, Operation::BackwardFilter, Operation::Forward][output_of(c.pass, c.kind)];
    let (stride, padding) = if c.kind == Kind::Conv2d { (1, (c.kernel - 1) / 2) } else { (2, 0) };
    Problem { operation, x, w, y, stride, padding, half: c.half }
}

/// The bytes of x, w and y; `None` for the one that is written.
fn operands(case: &Case, c: &Convolution) -> [Option<Vec<u8>>; 3] {
    let inputs: Vec<Numbers> = (0..case.inputs.len()).map(|i| Numbers::of_input(case, i)).collect();
    let n_images = 1 + usize::from(c.channels_in[1] > 0);
    let layer_x = || Some(side_by_side(&inputs[1..=n_images]));
    let filter = || Some(filter_bytes(&inputs[0], c.kind));
    let (x, w, y) = match c.pass {
        Pass::Forward => (layer_x(), filter(), None),
        Pass::DataGrad => (None, filter(), Some(inputs[1].bytes())),
        Pass::WeightGrad => (layer_x(), None, Some(inputs[0].bytes())),
    };
    if c.kind == Kind::Conv2d { [x, w, y] } else { [y, w, x] }
}

/// One image of the channels of all.
fn side_by_side(images: &[Numbers]) -> Vec<u8> {
    let parts: Vec<(usize, Vec<u8>)> = images.iter().map(|image| (image.shape.c() * image.dtype.size(), image.bytes())).collect();
    if parts.len() == 1 {
        return parts.into_iter().next().map(|(_, bytes)| bytes).unwrap_or_default();
    }
    let pixels = images[0].shape.pixels();
    let mut bytes = Vec::with_capacity(parts.iter().map(|(_, bytes)| bytes.len()).sum());
    for pixel in 0..pixels {
        parts.iter().for_each(|(size, part)| bytes.extend_from_slice(&part[pixel * size..(pixel + 1) * size]));
    }
    bytes
}

/// Our weights [r, s, ci, co] as cuDNN's filter [k, r, s, c].
fn filter_bytes(w: &Numbers, kind: Kind) -> Vec<u8> {
    let [n_r, n_s, n_ci, n_co] = w.shape.0;
    let (from, size) = (w.bytes(), w.dtype.size());
    let (n_k, n_c) = if kind == Kind::Conv2d { (n_co, n_ci) } else { (n_ci, n_co) };
    let mut bytes = Vec::with_capacity(from.len());
    for (k, r, s, c) in
        (0..n_k).flat_map(|k| (0..n_r).flat_map(move |r| (0..n_s).flat_map(move |s| (0..n_c).map(move |c| (k, r, s, c)))))
    {
        let (ci, co) = if kind == Kind::Conv2d { (c, k) } else { (k, c) };
        let at = (((r * n_s + s) * n_ci + ci) * n_co + co) * size;
        bytes.extend_from_slice(&from[at..at + size]);
    }
    bytes
}

#[cfg(test)]
mod tests;
