//! The memory receipt: what a run needs, before it starts.

use super::{PersistentLayout, Plan};
use serde::Serialize;

/// Bytes that a run needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryReceipt {
    /// Parameters, moments, running statistics, schedule scalars.
    pub persistent_bytes: usize,
    /// The transient region, as large as the largest plan needs.
    pub transient_bytes: usize,
    /// Batches on the host.
    pub host_bytes: usize,
}

impl MemoryReceipt {
    pub fn new(layout: &PersistentLayout, plans: &[Plan], host_bytes: usize) -> Self {
        let transient_bytes = plans.iter().map(|p| p.transient_bytes).max().unwrap_or(0);
        MemoryReceipt { persistent_bytes: layout.bytes(), transient_bytes, host_bytes }
    }

    /// All of it.
    pub fn total_bytes(&self) -> usize {
        self.persistent_bytes + self.transient_bytes + self.host_bytes
    }
}
