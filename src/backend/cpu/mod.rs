//! The CPU backend: rayon over shapes, SIMD chosen at run time.

use super::Backend;
use crate::error::Result;

/// A CPU backend with `threads` threads (0: as many as cores).
///
/// # Errors
/// If the thread pool cannot be started.
pub fn open(_threads: usize) -> Result<Box<dyn Backend>> {
    todo!()
}
