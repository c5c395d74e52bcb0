//! The engine as a whole: recorded networks, their gradients, plans, and backends against the f64 reference.

pub mod interpreter;
pub mod reference_backend;
