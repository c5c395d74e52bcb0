//! An NVIDIA GPU through its driver, which is loaded at run time.

use super::super::images;
use super::context::Context;
use super::{Address, Driver, Graph, Launch};
use crate::error::{Error, Result};
use cudarc::driver::DriverError;
use cudarc::driver::result::{
    self, device, event, free_sync, graph, launch_kernel, malloc_sync, memcpy_dtoh_async, memcpy_htod_async, memset_d8_async,
    module, stream,
};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
use std::collections::HashMap;
use std::ffi::{CString, c_void};

/// All modules are compiled for the same targets, so one of them stands for all.
const ANY_MODULE: &str = "add";

/// A GPU with a stream of its own.
pub struct Gpu {
    name: String,
    cache_bytes: usize,
    multiprocessors: usize,
    capability: images::Capability,
    stream: sys::CUstream,
    /// Start and end of what is timed.
    events: [sys::CUevent; 2],
    modules: HashMap<&'static str, sys::CUmodule>,
    functions: HashMap<String, sys::CUfunction>,
    graphs: Vec<sys::CUgraphExec>,
    target: Option<String>,
    /// Goes after what lives in it.
    context: Context,
}

// SAFETY: handles of the driver may be used by any thread; the context is made current in each call.
unsafe impl Send for Gpu {}

/// The driver's own words.
fn describe(error: DriverError) -> String {
    error.error_string().map_or_else(|_| format!("{error:?}"), |text| text.to_string_lossy().into_owned())
}

fn capability_of(device: sys::CUdevice) -> Result<images::Capability, DriverError> {
    // SAFETY: `device` is a handle that the driver gave out for this process.
    let attribute = |attribute| unsafe { device::get_attribute(device, attribute) };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    Ok((major as u32, minor as u32))
}

fn absent(number: usize, why: &str) -> Error {
    Error::device(format!("no usable GPU for --device cuda:{number}: {why}"))
        .remedy("use --device cpu or auto; `unet-engine doctor` says what this build and machine can do")
}

/// An error of the driver, with what was being done.
fn failed(doing: &str, error: DriverError) -> Error {
    let text = describe(error);
    let out_of_memory = error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY;
    let remedy = match out_of_memory {
        true => "use a smaller --batch, --size or --base, or free the GPU's memory (nvidia-smi shows who holds it)",
        false => "`unet-engine doctor` says what the driver finds; an error of a kernel is a bug that we would like to hear of",
    };
    Error::device(format!("the GPU failed to {doing}: {text}")).remedy(remedy)
}

impl Gpu {
    /// Opens the GPU of this number.
    ///
    /// # Errors
    /// If there is no driver, no such GPU, or no kernels for it in this build.
    pub fn open(number: usize) -> Result<Gpu> {
        let device = Self::find(number)?;
        Self::of_device(device).map_err(|e| absent(number, &format!("it cannot be opened: {}", describe(e))))
    }

    /// The GPU of this number, if this build has kernels for it. Makes no context, which would take memory and a while.
    ///
    /// # Errors
    /// As [`Gpu::open`].
    pub fn find(number: usize) -> Result<sys::CUdevice> {
        // SAFETY: this only tries to open the driver library, whose initialisers are NVIDIA's own.
        if !unsafe { sys::is_culib_present() } {
            return Err(absent(number, "the NVIDIA driver library (libcuda) was not found"));
        }
        result::init().map_err(|e| absent(number, &format!("the driver does not start: {}", describe(e))))?;
        let count = device::get_count().map_err(|e| absent(number, &describe(e)))?;
        if number >= count as usize {
            return Err(absent(number, &format!("the driver finds {count} GPU{}", if count == 1 { "" } else { "s" })));
        }
        let device = device::get(number as i32).map_err(|e| absent(number, &describe(e)))?;
        let capability = capability_of(device).map_err(|e| absent(number, &describe(e)))?;
        images::choose(ANY_MODULE, capability, images::wished_target().as_deref())?;
        Ok(device)
    }

    fn of_device(device: sys::CUdevice) -> Result<Gpu, DriverError> {
        let name = device::get_name(device)?;
        // What fails from here on gives the context back, and with its last reference go the stream and the events.
        let context = Context::retain(device)?;
        context.make_current()?;
        // SAFETY: `device` is a handle that the driver gave out for this process, and the context is current.
        unsafe {
            let cache_bytes = device::get_attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?;
            let multiprocessors = device::get_attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
            let event = || event::create(sys::CUevent_flags::CU_EVENT_DEFAULT);
            Ok(Gpu {
                name,
                cache_bytes: usize::try_from(cache_bytes).unwrap_or(0),
                multiprocessors: usize::try_from(multiprocessors).unwrap_or(1).max(1),
                capability: capability_of(device)?,
                stream: stream::create(stream::StreamKind::NonBlocking)?,
                events: [event()?, event()?],
                modules: HashMap::new(),
                functions: HashMap::new(),
                graphs: Vec::new(),
                target: images::wished_target(),
                context,
            })
        }
    }

    /// The stream of all work, with its context current: for a library that is to put its own work there.
    ///
    /// # Errors
    /// If the device fails.
    pub(in crate::backend::cuda) fn current_stream(&self) -> Result<sys::CUstream> {
        self.make_current().map(|()| self.stream)
    }

    /// Lets `work` start work on the stream, and says how many seconds the device took for it.
    ///
    /// # Errors
    /// If the device fails, or `work` does.
    pub fn time_work(&mut self, work: impl FnOnce(&mut Gpu) -> Result<()>) -> Result<f64> {
        self.make_current()?;
        let [start, end] = self.events;
        let timing = |e| failed("time its kernels", e);
        // SAFETY: events and stream live.
        unsafe {
            event::record(start, self.stream).map_err(timing)?;
            work(self)?;
            event::record(end, self.stream).map_err(timing)?;
            event::synchronize(end).map_err(timing)?;
            Ok(f64::from(event::elapsed(start, end).map_err(timing)?) / 1e3)
        }
    }

    fn make_current(&self) -> Result<()> {
        self.context.make_current().map_err(|e| failed("be used by this thread", e))
    }

    fn synchronise(&self) -> Result<(), DriverError> {
        // SAFETY: the stream lives.
        unsafe { stream::synchronize(self.stream) }
    }

    fn function(&mut self, launch: &Launch) -> Result<sys::CUfunction> {
        if let Some(&function) = self.functions.get(&launch.kernel) {
            return Ok(function);
        }
        let image = images::choose(launch.module, self.capability, self.target.as_deref())?;
        let load = |e| failed(&format!("load the kernels of {} for {}", launch.module, image.target), e);
        let module = match self.modules.get(launch.module) {
            Some(&module) => module,
            None => {
                // SAFETY: an image is a cubin, or PTX that ends in a zero byte, as nvcc wrote it.
                let module = unsafe { module::load_data(image.bytes.as_ptr().cast()).map_err(load)? };
                self.modules.insert(launch.module, module);
                module
            }
        };
        let name = CString::new(launch.kernel.as_str()).map_err(|_| Error::device("a kernel's name holds a zero byte"))?;
        // SAFETY: the module is loaded and stays so.
        let function = unsafe { module::get_function(module, name).map_err(|e| failed(&format!("find {}", launch.place()), e))? };
        // More than this a kernel has to be allowed.
        if launch.shared_bytes > 48 << 10 {
            let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function was just found.
            unsafe { result::function::set_function_attribute(function, most, launch.shared_bytes as i32) }
                .map_err(|e| failed(&format!("give {} bytes of shared memory to {}", launch.shared_bytes, launch.place()), e))?;
        }
        self.functions.insert(launch.kernel.clone(), function);
        Ok(function)
    }

    fn launch_all(&mut self, launches: &[Launch]) -> Result<()> {
        launches.iter().try_for_each(|launch| self.launch(launch))
    }
}

/// For what is tidied up: nothing can be done where it fails, and the process's end does the rest.
fn ignore(_result: Result<(), DriverError>) {}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.forget_graphs();
        // SAFETY: everything was made by this driver and is destroyed once, after all work has ended. What fails because the device has
        // failed goes with the context, which is released after this in any case.
        unsafe {
            self.modules.drain().for_each(|(_, m)| ignore(module::unload(m)));
            self.events.iter().for_each(|&e| ignore(event::destroy(e)));
            ignore(stream::destroy(self.stream));
        }
    }
}

impl Driver for Gpu {
    fn describe(&self) -> String {
        let (major, minor) = self.capability;
        format!("{} (sm_{major}{minor}, kernels for {})", self.name, self.architecture())
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cache_bytes(&self) -> usize {
        self.cache_bytes
    }

    fn architecture(&self) -> String {
        let image = images::choose(ANY_MODULE, self.capability, self.target.as_deref());
        image.map_or_else(|_| "none".into(), |image| image.target.into())
    }

    fn multiprocessors(&self) -> usize {
        self.multiprocessors
    }

    fn allocate(&mut self, bytes: usize) -> Result<Address> {
        self.make_current()?;
        // SAFETY: a size that is not zero; the address is given back once.
        unsafe { malloc_sync(bytes.max(1)).map_err(|e| failed(&format!("allocate {} MiB", bytes >> 20), e)) }
    }

    fn release(&mut self, address: Address) {
        // SAFETY: `allocate` gave it, nobody uses it any more once the stream is idle, and it is released once.
        let released = self.make_current().is_ok() && self.synchronise().is_ok() && unsafe { free_sync(address).is_ok() };
        // What cannot be released goes with the process.
        let _ = released;
    }

    fn zero(&mut self, at: Address, bytes: usize) -> Result<()> {
        self.make_current()?;
        // SAFETY: the range lies in memory that `allocate` gave.
        unsafe { memset_d8_async(at, 0, bytes, self.stream).map_err(|e| failed("clear memory", e)) }
    }

    fn write(&mut self, to: Address, bytes: &[u8]) -> Result<()> {
        self.make_current()?;
        // SAFETY: the range lies in memory that `allocate` gave, and `bytes` lives until the stream is idle.
        let copied = unsafe { memcpy_htod_async(to, bytes, self.stream) };
        copied.and_then(|()| self.synchronise()).map_err(|e| failed(&format!("take {} bytes", bytes.len()), e))
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        self.make_current()?;
        // SAFETY: as for `write`.
        let copied = unsafe { memcpy_dtoh_async(bytes, from, self.stream) };
        copied.and_then(|()| self.synchronise()).map_err(|e| failed("run its kernels, or to hand over their results", e))
    }

    fn launch(&mut self, launch: &Launch) -> Result<()> {
        self.make_current()?;
        let function = self.function(launch)?;
        let [x, y, z] = launch.grid;
        let mut parameters = [launch.parameters.as_ptr().cast_mut().cast::<c_void>()];
        // SAFETY: the kernel's one parameter is a struct of these bytes (both sides assert its size), which the driver copies now.
        let launched = unsafe {
            launch_kernel(function, (x, y, z), (launch.threads, 1, 1), launch.shared_bytes, self.stream, &mut parameters)
        };
        launched.map_err(|e| failed(&format!("launch {}", launch.place()), e))
    }

    fn prepare(&mut self, launches: &[Launch]) -> Result<()> {
        self.make_current()?;
        launches.iter().try_for_each(|launch| self.function(launch).map(drop))
    }

    fn forget_graphs(&mut self) {
        // A device that has failed cannot be tidied up; its context takes the graphs with it.
        let _ = self.make_current().is_ok() && self.synchronise().is_ok();
        // SAFETY: made by `capture`, destroyed once, and idle.
        self.graphs.drain(..).for_each(|graph| ignore(unsafe { graph::exec_destroy(graph) }));
    }

    fn capture(&mut self, launches: &[Launch]) -> Result<Option<Graph>> {
        // Modules are loaded lazily, which a capture does not allow.
        self.prepare(launches)?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives; the captured graph is destroyed whether or not it could be instantiated.
        unsafe {
            stream::begin_capture(self.stream, mode).map_err(|e| failed("begin a graph", e))?;
            let launched = self.launch_all(launches);
            let captured = stream::end_capture(self.stream).map_err(|e| failed("end a graph", e))?;
            let instantiate = |e| failed(&format!("make a graph of {} launches", launches.len()), e);
            let executable =
                launched.and_then(|()| graph::instantiate(captured, sys::CUgraphInstantiate_flags(0)).map_err(instantiate));
            ignore(graph::destroy(captured));
            self.graphs.push(executable?);
        }
        Ok(Some(Graph(self.graphs.len() - 1)))
    }

    fn replay(&mut self, graph: Graph) -> Result<()> {
        self.make_current()?;
        // SAFETY: graphs live as long as this.
        unsafe { graph::launch(self.graphs[graph.0], self.stream).map_err(|e| failed("run a graph", e)) }
    }

    fn time(&mut self, launches: &[Launch]) -> Result<f64> {
        self.time_work(|gpu| gpu.launch_all(launches))
    }
}
