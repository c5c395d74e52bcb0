//! cuDNN's convolutions, to measure ours beside: through the graph API, each engine that its heuristics propose.
//!
//! A graph of one operation, as cuDNN's documentation of the graph API tells it: tensors with dimensions [n, c, h, w] and the strides of NHWC,
//! filters [k, c, r, s] with the strides of KRSC; an operation; heuristics (modes A, B and fallback) that list engine configurations; for
//! each of them an execution plan, if the engine supports the case; and a variant pack with the addresses, to run it.

mod library;

use super::driver::{Address, Gpu};
use crate::error::{Error, Result};
use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Attribute, cudnnBackendAttributeType_t as Type, cudnnBackendDescriptorType_t as Kind,
    cudnnBackendHeurMode_t as Mode, cudnnBackendNumericalNote_t as Note, cudnnConvolutionMode_t, cudnnDataType_t as Data,
};
use library::{Descriptor, Library, Raw};
use std::ffi::c_int;

/// What is computed, of x [n, c, h, w], w [k, c, r, s] and y [n, k, h', w'].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// y from x and w.
    Forward,
    /// x from y and w.
    BackwardData,
    /// w from x and y.
    BackwardFilter,
}

/// A convolution with square kernel, in cuDNN's terms. Images lie as NHWC, filters as KRSC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    pub operation: Operation,
    pub x: [usize; 4],
    pub w: [usize; 4],
    pub y: [usize; 4],
    pub stride: usize,
    pub padding: usize,
    /// All three tensors as f16, else f32; sums are f32.
    pub half: bool,
}

/// The tensors' names in a graph, in the order in which addresses are given.
const X: i64 = 1;
const W: i64 = 2;
const Y: i64 = 3;

/// No engine gets more scratch memory.
const WORKSPACE_MOST: usize = 4 << 30;

/// A handle of cuDNN on a GPU's stream.
pub struct Cudnn {
    library: &'static Library,
    handle: Raw,
}

/// A way to compute a problem, ready to run.
pub struct Engine {
    /// Its number and what cuDNN notes of its arithmetic.
    pub name: String,
    pub workspace_bytes: usize,
    plan: Descriptor,
    /// A plan may refer to what it was made from.
    _config: Descriptor,
}

/// The addresses of one run: x, w, y and scratch memory.
pub struct Pack(Descriptor);

/// The version of the cuDNN that would be loaded, if there is one.
pub fn version() -> Option<String> {
    Library::load().ok().map(Library::version)
}

impl Cudnn {
    /// # Errors
    /// If there is no cuDNN, or it does not run on this GPU.
    pub fn open(gpu: &mut Gpu) -> Result<Cudnn> {
        let library = Library::load()?;
        let stream = gpu.current_stream()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the GPU's context is current, the pointer is to a live place for a handle, and the stream lives as long as the GPU.
        unsafe {
            library.check((library.create)(&mut handle), "start")?;
            let cudnn = Cudnn { library, handle };
            library.check((library.set_stream)(handle, stream.cast()), "take the stream")?;
            Ok(cudnn)
        }
    }

    /// Such as `9.10.2`.
    pub fn version(&self) -> String {
        self.library.version()
    }

    /// All engines that the heuristics propose for a problem and that support it; the fall-backs only if there is no other. In f32 without
    /// those that round operands to fewer bits for tensor cores: ours do not either.
    ///
    /// # Errors
    /// If cuDNN has none, or refuses the problem.
    pub fn engines(&self, problem: &Problem) -> Result<Vec<Engine>> {
        let (graph, _parts) = self.graph(problem)?;
        let mut engines = Vec::new();
        let mut refusal = None;
        // Two opinions of which engines suit best; what falls back is slower by orders of magnitude, and seconds of every case.
        for modes in [&[Mode::CUDNN_HEUR_MODE_A, Mode::CUDNN_HEUR_MODE_B][..], &[Mode::CUDNN_HEUR_MODE_FALLBACK]] {
            for &mode in modes {
                let configs = self.configurations(&graph, mode).unwrap_or_else(|error| {
                    refusal = Some(error);
                    Vec::new()
                });
                for config in configs {
                    // An engine that does not support the case says so now.
                    match self.engine(config, problem.half) {
                        Ok(engine) => engines.extend(engine),
                        Err(error) => refusal = Some(error),
                    }
                }
            }
            if !engines.is_empty() {
                break;
            }
        }
        match (engines.is_empty(), refusal) {
            (false, _) => Ok(engines),
            (true, Some(refusal)) => Err(refusal),
            (true, None) => Err(Error::device("cuDNN has no engine for this convolution")),
        }
    }

    /// The addresses of a run.
    ///
    /// # Errors
    /// If cuDNN refuses them.
    pub fn pack(&self, [x, w, y]: [Address; 3], workspace: Address) -> Result<Pack> {
        let pack = Descriptor::new(self.library, Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?;
        pack.set_integers(Attribute::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, &[X, W, Y])?;
        pack.set_addresses(Attribute::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, &[x, w, y])?;
        pack.set_addresses(Attribute::CUDNN_ATTR_VARIANT_PACK_WORKSPACE, &[workspace])?;
        pack.finalize()?;
        Ok(Pack(pack))
    }

    /// Starts a run on the stream. The pack's memory has to be that of the engine's problem, and its workspace large enough for it.
    ///
    /// # Errors
    /// If cuDNN fails.
    pub fn run(&self, engine: &Engine, pack: &Pack) -> Result<()> {
        // SAFETY: live and finalized descriptors; the caller answers for the memory, as for any launch.
        let status = unsafe { (self.library.execute)(self.handle, engine.plan.raw, pack.0.raw) };
        self.library.check(status, &format!("run engine {}", engine.name))
    }

    /// The graph, and what it refers to.
    fn graph(&self, problem: &Problem) -> Result<(Descriptor, Vec<Descriptor>)> {
        let (operation, parts) = whole_operation(self.library, problem)?;
        let graph = Descriptor::new(self.library, Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?;
        graph.set_handle(Attribute::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, self.handle)?;
        graph.set_descriptor(Attribute::CUDNN_ATTR_OPERATIONGRAPH_OPS, &operation)?;
        graph.finalize()?;
        Ok((graph, parts.into_iter().chain([operation]).collect()))
    }

    fn configurations(&self, graph: &Descriptor, mode: Mode) -> Result<Vec<Descriptor>> {
        let heuristics = Descriptor::new(self.library, Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?;
        heuristics.set_descriptor(Attribute::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)?;
        heuristics.set_choice(Attribute::CUDNN_ATTR_ENGINEHEUR_MODE, Type::CUDNN_TYPE_HEUR_MODE, mode as c_int)?;
        heuristics.finalize()?;
        heuristics.descriptors(Attribute::CUDNN_ATTR_ENGINEHEUR_RESULTS, Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)
    }

    /// The engine of a configuration; `None` if it rounds operands that are to stay f32, or wants too much memory.
    fn engine(&self, config: Descriptor, half: bool) -> Result<Option<Engine>> {
        let engines = config.descriptors(Attribute::CUDNN_ATTR_ENGINECFG_ENGINE, Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR)?;
        let engine = engines.first().ok_or_else(|| Error::device("cuDNN gave a configuration of no engine"))?;
        let number = engine.integer(Attribute::CUDNN_ATTR_ENGINE_GLOBAL_INDEX)?;
        let notes = engine.choices(Attribute::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, Type::CUDNN_TYPE_NUMERICAL_NOTE, 32)?;
        if !half && notes.iter().any(|&note| rounds_operands(note)) {
            return Ok(None);
        }
        let plan = Descriptor::new(self.library, Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?;
        plan.set_handle(Attribute::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, self.handle)?;
        plan.set_descriptor(Attribute::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, &config)?;
        plan.finalize()?;
        let bytes = plan.integer(Attribute::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)?;
        let workspace_bytes = usize::try_from(bytes).map_err(|_| Error::device(format!("cuDNN asks for {bytes} bytes")))?;
        if workspace_bytes > WORKSPACE_MOST {
            return Ok(None);
        }
        Ok(Some(Engine { name: name(number, &notes), workspace_bytes, plan, _config: config }))
    }
}

impl Drop for Cudnn {
    fn drop(&mut self) {
        // SAFETY: made once, destroyed once. A failure would leak it, nothing more.
        unsafe { (self.library.destroy)(self.handle) };
    }
}

/// The one operation of a problem, and what it refers to. Needs no GPU.
fn whole_operation(library: &'static Library, problem: &Problem) -> Result<(Descriptor, Vec<Descriptor>)> {
    let x = tensor(library, X, problem.x, problem.half)?;
    let w = tensor(library, W, problem.w, problem.half)?;
    let y = tensor(library, Y, problem.y, problem.half)?;
    let convolution = convolution(library, problem)?;
    let operation = operation(library, problem.operation, &convolution, [&x, &w, &y])?;
    Ok((operation, vec![x, w, y, convolution]))
}

fn tensor(library: &'static Library, id: i64, dimensions: [usize; 4], half: bool) -> Result<Descriptor> {
    let data = if half { Data::CUDNN_DATA_HALF } else { Data::CUDNN_DATA_FLOAT };
    let tensor = Descriptor::new(library, Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?;
    tensor.set_choice(Attribute::CUDNN_ATTR_TENSOR_DATA_TYPE, Type::CUDNN_TYPE_DATA_TYPE, data as c_int)?;
    tensor.set_integers(Attribute::CUDNN_ATTR_TENSOR_DIMENSIONS, &dimensions.map(|d| d as i64))?;
    tensor.set_integers(Attribute::CUDNN_ATTR_TENSOR_STRIDES, &channels_last(dimensions))?;
    tensor.set_integers(Attribute::CUDNN_ATTR_TENSOR_UNIQUE_ID, &[id])?;
    tensor.set_integers(Attribute::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[16])?;
    tensor.finalize()?;
    Ok(tensor)
}

fn convolution(library: &'static Library, problem: &Problem) -> Result<Descriptor> {
    let (stride, padding) = ([problem.stride as i64; 2], [problem.padding as i64; 2]);
    let mode = cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
    let convolution = Descriptor::new(library, Kind::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?;
    convolution.set_integers(Attribute::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &[2])?;
    let data = Data::CUDNN_DATA_FLOAT as c_int;
    convolution.set_choice(Attribute::CUDNN_ATTR_CONVOLUTION_COMP_TYPE, Type::CUDNN_TYPE_DATA_TYPE, data)?;
    convolution.set_choice(Attribute::CUDNN_ATTR_CONVOLUTION_CONV_MODE, Type::CUDNN_TYPE_CONVOLUTION_MODE, mode as c_int)?;
    convolution.set_integers(Attribute::CUDNN_ATTR_CONVOLUTION_DILATIONS, &[1, 1])?;
    convolution.set_integers(Attribute::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, &stride)?;
    convolution.set_integers(Attribute::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, &padding)?;
    convolution.set_integers(Attribute::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, &padding)?;
    convolution.finalize()?;
    Ok(convolution)
}

fn operation(
    library: &'static Library,
    operation: Operation,
    convolution: &Descriptor,
    tensors: [&Descriptor; 3],
) -> Result<Descriptor> {
    let (kind, [of_convolution, of_x, of_w, of_y, alpha, beta]) = attributes(operation);
    let [x, w, y] = tensors;
    let operation = Descriptor::new(library, kind)?;
    operation.set_descriptor(of_convolution, convolution)?;
    operation.set_descriptor(of_x, x)?;
    operation.set_descriptor(of_w, w)?;
    operation.set_descriptor(of_y, y)?;
    operation.set_factor(alpha, 1.0)?;
    operation.set_factor(beta, 0.0)?;
    operation.finalize()?;
    Ok(operation)
}

/// Strides of [n, c, h, w] where c is the fastest in memory, then w, h, n; of [k, c, r, s] likewise.
fn channels_last([_, c, h, w]: [usize; 4]) -> [i64; 4] {
    [h * w * c, 1, w * c, c].map(|stride| stride as i64)
}

/// An operation's descriptor, and its attributes for the convolution, x, w, y, alpha and beta.
fn attributes(operation: Operation) -> (Kind, [Attribute; 6]) {
    use Attribute as A;
    match operation {
        Operation::Forward => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
            [
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
            ],
        ),
        Operation::BackwardData => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            [
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
            ],
        ),
        Operation::BackwardFilter => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            [
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                A::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
            ],
        ),
    }
}

/// Of f32 operands tensor cores keep 10 bits of the significand.
fn rounds_operands(note: c_int) -> bool {
    [Note::CUDNN_NUMERICAL_NOTE_TENSOR_CORE, Note::CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS].iter().any(|&n| n as c_int == note)
}

/// `engine 7 (tensor core, not deterministic)`.
fn name(number: i64, notes: &[c_int]) -> String {
    let known = [
        (Note::CUDNN_NUMERICAL_NOTE_TENSOR_CORE, "tensor core"),
        (Note::CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS, "rounds its inputs"),
        (Note::CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION, "sums in less than f32"),
        (Note::CUDNN_NUMERICAL_NOTE_FFT, "FFT"),
        (Note::CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, "not deterministic"),
        (Note::CUDNN_NUMERICAL_NOTE_WINOGRAD, "Winograd"),
    ];
    let notes: Vec<&str> =
        known.into_iter().filter(|(note, _)| notes.contains(&(*note as c_int))).map(|(_, text)| text).collect();
    if notes.is_empty() { number.to_string() } else { format!("{number} ({})", notes.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [n, c, h, w] = [2, 3, 4, 5]: the next channel lies next, the next pixel 3 on, the next row 15, the next image 60.
    #[test]
    fn strides_by_hand() {
        assert_eq!(channels_last([2, 3, 4, 5]), [60, 1, 15, 3]);
        assert_eq!(channels_last([64, 1, 3, 3]), [9, 1, 3, 1]);
    }

    #[test]
    fn engines_are_named_by_what_they_do() {
        assert_eq!(name(7, &[]), "7");
        assert_eq!(name(12, &[0, 4]), "12 (tensor core, not deterministic)");
        assert!(rounds_operands(0) && rounds_operands(1) && !rounds_operands(4));
    }

    /// Where there is a cuDNN, with a GPU or without, it takes what it is told of every operation in both types, and refuses what is wrong.
    #[test]
    fn a_cudnn_takes_the_operations() {
        let library = match Library::load() {
            Ok(library) => library,
            Err(error) => {
                eprintln!("not run: {error}");
                return;
            }
        };
        for operation in [Operation::Forward, Operation::BackwardData, Operation::BackwardFilter] {
            for half in [false, true] {
                let layer = Problem {
                    operation,
                    x: [8, 192, 64, 32],
                    w: [64, 192, 3, 3],
                    y: [8, 64, 64, 32],
                    stride: 1,
                    padding: 1,
                    half,
                };
                let up = Problem { x: [8, 64, 128, 64], w: [192, 64, 2, 2], y: [8, 192, 64, 32], stride: 2, padding: 0, ..layer };
                for problem in [layer, up] {
                    let taken = whole_operation(library, &problem).map(drop);
                    assert!(taken.is_ok(), "{problem:?}: {}", taken.unwrap_err());
                }
                let wrong = whole_operation(library, &Problem { y: [8, 64, 63, 32], ..layer }).map(drop);
                assert!(wrong.is_err(), "an output that is too small was taken");
            }
        }
    }

    /// The same numbers as in cudnn_graph.h, whatever the version of the bindings.
    #[test]
    fn numbers_are_those_of_the_header() {
        let (kind, numbers) = attributes(Operation::BackwardData);
        assert_eq!((kind as c_int, numbers.map(|a| a as c_int)), (12, [708, 710, 709, 711, 706, 707]));
        let (kind, numbers) = attributes(Operation::BackwardFilter);
        assert_eq!((kind as c_int, numbers.map(|a| a as c_int)), (11, [714, 716, 715, 717, 712, 713]));
        let (kind, numbers) = attributes(Operation::Forward);
        assert_eq!((kind as c_int, numbers.map(|a| a as c_int)), (10, [702, 704, 703, 705, 700, 701]));
    }
}
