//! The memory receipt: what a run needs, before it starts.

use super::{PersistentLayout, Plan};
use serde::Serialize;
use std::fmt;

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
        let transient_bytes = plans.iter().map(|p| p.transient_bytes()).max().unwrap_or(0);
        MemoryReceipt { persistent_bytes: layout.bytes(), transient_bytes, host_bytes }
    }

    /// All of it.
    pub fn total_bytes(&self) -> usize {
        self.persistent_bytes + self.transient_bytes + self.host_bytes
    }
}

/// One line for the log.
impl fmt::Display for MemoryReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: usize| bytes as f64 / (1024.0 * 1024.0);
        let (persistent, transient, host) = (mib(self.persistent_bytes), mib(self.transient_bytes), mib(self.host_bytes));
        let total = mib(self.total_bytes());
        write!(f, "memory: {total:.1} MiB (parameters and their state {persistent:.1} MiB, activations and gradients ")?;
        write!(f, "{transient:.1} MiB, batches on the host {host:.1} MiB)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_one_line() {
        let receipt = MemoryReceipt { persistent_bytes: 3 << 20, transient_bytes: 5 << 19, host_bytes: 1 << 20 };
        let expected = "memory: 6.5 MiB (parameters and their state 3.0 MiB, activations and gradients 2.5 MiB, \
                        batches on the host 1.0 MiB)";
        assert_eq!(receipt.to_string(), expected);
    }
}
