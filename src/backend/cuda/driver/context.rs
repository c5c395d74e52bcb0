//! A GPU's context, held as long as something lives in it.

use cudarc::driver::DriverError;
use cudarc::driver::result::{ctx, primary_ctx};
use cudarc::driver::sys;

/// A reference to a device's primary context, given back when this is dropped.
pub(super) struct Context {
    device: sys::CUdevice,
    raw: sys::CUcontext,
}

impl Context {
    /// Takes a reference, which makes the context if it is the first; not yet current.
    ///
    /// # Errors
    /// If the device fails, or has no memory left for a context.
    pub fn retain(device: sys::CUdevice) -> Result<Context, DriverError> {
        // SAFETY: `device` is a handle that the driver gave out for this process.
        let raw = unsafe { primary_ctx::retain(device)? };
        Ok(Context { device, raw })
    }

    /// Makes it the calling thread's.
    ///
    /// # Errors
    /// If the device fails.
    pub fn make_current(&self) -> Result<(), DriverError> {
        // SAFETY: the context is retained as long as this lives.
        unsafe { ctx::set_current(self.raw) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once, released once. Nothing can be done where it fails, and the process's end does the rest.
        let _ = unsafe { primary_ctx::release(self.device) };
    }
}
