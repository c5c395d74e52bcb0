//! The engine as a whole: recorded networks, their gradients, plans, and backends against the f64 reference.

mod convolutions;
mod gradient;
pub mod interpreter;
mod mixed;
pub mod networks;
mod plans;
pub mod reference_backend;
